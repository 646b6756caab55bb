"""The commands, one file per command or group.

These modules import nothing heavy at the top, so that `--help` and shell completion respond at once.
"""
