"""The kinds of datasets, one file each: a loader turns the part of a specification after the colon into `Contents`.

To add a kind, write a loader here and add a line to `dataset.catalog`. Open `folder` first.
"""
