"""Groups of images that belong together, as those of one patient, one camera or one day.

`rule` reads the group of each image from a column or from its path, in which `bounded_search` finds it; open `rule`
first. `components` joins groups that share a content, and gives each component one split.
"""
