"""Fits heads on a bank's training images and evaluates them on its validation images or folds.

`fit` is the entry; `spec` describes a head to be fitted, `data` loads its images.
"""
