"""How many numbers a trained head holds: the measure of simplicity where heads are equally good."""

from __future__ import annotations

from typing import Any

import numpy as np

_ARRAYS = (
    ("support_vectors_", "dual_coef_", "intercept_"),
    ("coef_", "intercept_"),
    ("centroids_",),
    ("_fit_X",),
    ("theta_", "var_"),
)
"""What scikit-learn's estimators hold: support vectors, linear models, nearest means, neighbours, naive Bayes."""
_STEPS = ("mean_", "scale_", "components_")


def parameters_of(head: Any) -> int | None:
    """Returns how many trained numbers a fitted head holds; None where that cannot be told.

    A head may tell itself, by `n_parameters_`. Weights of layers, coefficients, stored images and the splits and leaves
    of trees are counted, with those of a standardisation or PCA before them.
    """
    if hasattr(head, "n_parameters_"):
        return int(head.n_parameters_)
    if hasattr(head, "temperature_"):
        inner = parameters_of(head.head_)
        return None if inner is None else inner + 1
    if hasattr(head, "layers_"):
        return sum(int(np.size(array)) for layer in head.layers_ for array in vars(layer).values())
    before = sum(_size(step, _STEPS) for step in getattr(head, "steps_", ()))
    own = _of_booster(head.booster_) if hasattr(head, "booster_") else _of_estimator(getattr(head, "estimator_", None))
    return None if own is None else own + before


def _of_estimator(estimator: Any) -> int | None:
    if hasattr(estimator, "tree_"):
        inner = int((estimator.tree_.children_left >= 0).sum())
        leaves = int(estimator.tree_.node_count) - inner
        return 2 * inner + leaves * int(np.prod(estimator.tree_.value.shape[1:]))
    if hasattr(estimator, "estimators_"):
        sizes = [_of_estimator(part) for part in np.ravel(estimator.estimators_)]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None
    for names in _ARRAYS:
        if hasattr(estimator, names[0]):
            return _size(estimator, names)
    return None


def _of_booster(booster: Any) -> int:
    """Counts a feature and a threshold for each split, a value for each leaf."""
    text = "".join(booster.get_dump())
    leaves = text.count("leaf=")
    return int(2 * (text.count("\n") - leaves) + leaves)


def _size(holder: Any, names: tuple[str, ...]) -> int:
    return sum(
        int(np.prod(np.shape(getattr(holder, name)))) for name in names if getattr(holder, name, None) is not None
    )
