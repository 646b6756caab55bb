"""Heads on joined features: several taps side by side, and perhaps columns of metadata.

`head` holds the head, which scales the features itself; `scaling` how they are scaled; `encoding` how columns become
numbers.
"""
