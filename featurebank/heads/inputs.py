"""What every head asks of its features and labels, before it trains and before it answers."""

from __future__ import annotations

import math

import numpy as np

from featurebank.errors import HeadError
from featurebank.words import counted


def flat_features(X: np.ndarray, expected: int | None = None) -> np.ndarray:
    """Returns features as (n, d) float32; maps are flattened.

    Args:
        X: (n, ...) features.
        expected: the d that the head was trained on; None takes any.

    Raises:
        HeadError: d is another one, or a feature is NaN or infinite.
    """
    features = np.ascontiguousarray(X, np.float32)
    flat = features.reshape(len(features), math.prod(features.shape[1:]))  # -1 would not do for no rows at all
    if expected is not None and flat.shape[1] != expected:
        message = f"features have {counted(flat.shape[1], 'column')}, the head was trained on {expected}"
        raise HeadError(message)
    check_finite(flat)
    return flat


def checked_features(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns training features as (n, d) float32.

    Raises:
        HeadError: they are not finite, there is not one label for each, or there is one class only.
    """
    flat = flat_features(X)
    check_labels(y, len(flat))
    return flat


def check_labels(y: np.ndarray, images: int) -> None:
    """Checks the labels of so many training images.

    Raises:
        HeadError: there is not one label for each, or there is one class only.
    """
    if np.shape(y) != (images,):
        message = f"there are features of {counted(images, 'image')}, but the labels have the shape {np.shape(y)}"
        raise HeadError(message)
    classes = len(np.unique(y))
    if classes < 2:  # noqa: PLR2004 - a classifier needs two
        message = f"the training images have {classes} class, expected 2 or more: check the split and the labels"
        raise HeadError(message)


def check_finite(X: np.ndarray) -> None:
    """Raises HeadError where a feature is NaN or infinite."""
    if not np.isfinite(X).all():
        message = "the features hold NaN or infinite values: extract them again, or leave those rows out"
        raise HeadError(message)


def known_rows(
    classes: np.ndarray, X: np.ndarray, y: np.ndarray, expected: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Keeps the validation rows whose class is among the trained ones: a head has no output for others.

    Args:
        classes: the trained ones, sorted.
        X: (n, ...) features.
        y: (n,) labels.
        expected: the width that the head was trained on.

    Returns:
        Features (m, d) float32 and positions in `classes` (m,); None where no row is left.

    Raises:
        HeadError: the features are not finite or of another width.
    """
    flat, y = flat_features(X, expected), np.asarray(y)
    known = np.isin(y, classes)
    return (flat[known], np.searchsorted(classes, y[known])) if known.any() else None
