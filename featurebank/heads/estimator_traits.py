"""What a grid asks about scikit-learn's classifiers that they do not say themselves: wrong values, time and size."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from featurebank.heads.base import MOST_ROUNDS, USUAL_ROUNDS

_TREES = (DecisionTreeClassifier, RandomForestClassifier, ExtraTreesClassifier)
_ROUNDS = ("n_estimators", "max_iter")
_ARRAYS = (
    ("support_vectors_", "dual_coef_", "intercept_"),
    ("coef_", "intercept_"),
    ("centroids_",),
    ("_fit_X",),
    ("theta_", "var_"),
)
"""What scikit-learn's estimators hold: support vectors, linear models, nearest means, neighbours, naive Bayes."""
_STEPS = ("mean_", "scale_", "components_")


def wrong_values(estimator: Any, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields the name and the text of what scikit-learn's own table of a class's parameters refuses.

    It says one at a time, so that a wrong value is put back to its default before it is asked again.

    Args:
        estimator: unfitted; some of its parameters are changed.
        names: of the parameters that somebody gave.
    """
    if not hasattr(estimator, "_parameter_constraints"):  # a class of the user's own has no such table
        return
    known = inspect.signature(type(estimator)).parameters
    for _ in names:
        try:
            estimator._validate_params()
            return
        except ValueError as error:
            text = " ".join(str(error).split())
            name = (re.findall(r"'(\w+)' parameter", text) or [""])[0]
        yield name, text
        if name not in known or known[name].default is inspect.Parameter.empty:
            return
        estimator.set_params(**{name: known[name].default})


def cost(estimator: Any, images: int, width: int, validation_images: int) -> float:
    """Returns about how many nanoseconds the training takes; see `Head.cost`.

    Args:
        estimator: unfitted.
        images: how many it is trained on.
        width: how many features an image has.
        validation_images: how many it is scored on.
    """
    if isinstance(estimator, KNeighborsClassifier):
        return images * width * validation_images / 100
    params = estimator.get_params(deep=False)
    counts = [params[name] for name in _ROUNDS if isinstance(params.get(name), int) and params[name] > 0]
    rounds = float(min([*counts, USUAL_ROUNDS][0], MOST_ROUNDS))
    if isinstance(estimator, _TREES):
        return float(5 * rounds * images * width**0.5 * math.log2(images + 1) ** 2)
    return rounds * images * width


def size(estimator: Any) -> int | None:
    """Returns how many numbers a fitted estimator holds; None if it is unknown.

    Coefficients, stored images and the splits and leaves of trees are counted.
    """
    if hasattr(estimator, "tree_"):
        inner = int((estimator.tree_.children_left >= 0).sum())
        leaves = int(estimator.tree_.node_count) - inner
        return 2 * inner + leaves * int(np.prod(estimator.tree_.value.shape[1:]))
    if hasattr(estimator, "estimators_"):
        sizes = [size(part) for part in np.ravel(estimator.estimators_)]
        known = [number for number in sizes if number is not None]
        return sum(known) if len(known) == len(sizes) else None
    for names in _ARRAYS:
        if hasattr(estimator, names[0]):
            return _numbers(estimator, names)
    return None


def size_of_steps(steps: Sequence[Any]) -> int:
    """Returns how many numbers the standardisation and the PCA before an estimator hold."""
    return sum(_numbers(step, _STEPS) for step in steps)


def _numbers(holder: Any, names: tuple[str, ...]) -> int:
    return sum(
        int(np.prod(np.shape(getattr(holder, name)))) for name in names if getattr(holder, name, None) is not None
    )
