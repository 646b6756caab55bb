"""Fits heads on a bank's training images and evaluates them on its validation images or folds.

`fit` is the entry. `spec` describes a head before it exists (kind, parameters, tap, views), `data` loads the features
that it is trained on, `folds` divides them for cross-validation, and `scoring` computes the metrics.
"""
