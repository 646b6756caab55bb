"""The commands, one file each or one file a group.

Nothing heavy is imported at the top of these modules, so that `--help` and completion answer at once.
"""
