"""The commands `featurebank cache ...`: look at banks, verify them, join them, and free space.

`banks` has the group and `ls`, `show`, `rm` and `export`; `verifying` has `verify` and `gc`, `joining` `merge` and
`finish`.
"""
