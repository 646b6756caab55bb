"""The kinds of datasets, one file each: a loader gets the part of a specification after its colon and returns
`Contents`.

To add a kind, write a loader here and add a line to `dataset.catalog`. Open `folder` first.
"""
