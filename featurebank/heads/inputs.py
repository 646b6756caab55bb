"""Checks of features, labels and weights, before a head is trained and before it predicts.

What a user passes to `fit` and `predict` is checked by scikit-learn's own functions, so that tables, lists, sparse
arrays and labels of any form are treated as by any other classifier. What they cannot know (a bank's arrays come
without them) is checked below: finite features, and two classes or more.

scikit-learn is imported by the functions that call it: commands that train nothing need the checks of arrays alone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.words import counted, one_line


class TrainingRows(NamedTuple):
    """What a head is fitted on."""

    X: Any
    """(n, d) float32, or maps (n, h, w, c)."""
    y: np.ndarray
    """(n,) labels."""
    weights: np.ndarray | None = None
    """(n,) float64 above 0, or None where all images weigh 1."""


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Raises scikit-learn's errors about values, which may have several lines, as HeadInputError in one."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, HeadInputError):
            raise
        raise HeadInputError(one_line(error)) from error


def vectors_to_fit(head: Any, X: Any, y: Any, sample_weight: Any = None) -> TrainingRows:
    """Returns training features as (n, d) float32, labels, and weights; sets what scikit-learn's `validate_data` sets.

    Images of weight 0 are left out.

    Args:
        head: unfitted; gets `n_features_in_`, and `feature_names_in_` where X is a table.
        X: (n, ...) features: an array, a list or a table; maps are flattened.
        y: (n,) labels; a column (n, 1) is flattened with scikit-learn's warning.
        sample_weight: (n,) numbers of 0 or more; None for 1 each.

    Raises:
        HeadInputError: scikit-learn refuses them: another number of labels than of rows, continuous or infinite labels,
            complex features, weights that are negative or all 0.
        TypeError: X is sparse, or holds something that is no number.
    """
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import validate_data

    with one_line_errors():
        X, y = validate_data(head, flattened(X), y, dtype=np.float32, order="C", ensure_all_finite=False)
        check_classification_targets(y)
        return _weighed(X, y, sample_weight)


def maps_to_fit(head: Any, X: Any, y: Any, sample_weight: Any = None) -> TrainingRows:
    """Returns maps (or those in a bank, as they are), labels and weights; see `vectors_to_fit`."""
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_consistent_length

    with one_line_errors():
        if y is None:
            message = f"This {type(head).__name__} estimator requires y to be passed, but the target y is None."
            raise HeadInputError(message)
        X, y = plain_maps(head, X, least=1), labels_of(y)
        check_consistent_length(X, y)
        check_classification_targets(y)
        return _weighed(X, y, sample_weight)


def validation_to_fit(X: Any, y: Any) -> tuple[Any, np.ndarray]:
    """Returns validation features, which are checked already, with their labels (n,).

    Raises:
        HeadInputError: there is not one label for each row.
    """
    from sklearn.utils.validation import check_consistent_length

    with one_line_errors():
        y = labels_of(y)
        check_consistent_length(X, y)
    return X, y


def labels_of(y: Any) -> np.ndarray:
    """Returns labels (n,) that are finite; a column (n, 1) is flattened with scikit-learn's warning."""
    from sklearn.utils.validation import check_array, column_or_1d

    found = column_or_1d(y, warn=True)
    return np.asarray(check_array(found, ensure_2d=False, dtype=None, ensure_min_samples=0, input_name="y"))


def vectors_to_predict(head: Any, X: Any) -> np.ndarray:
    """Returns features as (n, d) float32.

    Args:
        head: fitted.
        X: (n, ...) features, with the columns in the order of the training features where both are tables.

    Raises:
        NotFittedError: the head is not fitted.
        HeadInputError: the features are not finite, or not of the head's width or columns.
        TypeError: X is sparse, or holds something that is no number.
    """
    check_fitted(head)
    return checked_vectors(head, X)


def checked_vectors(head: Any, X: Any) -> np.ndarray:
    """Returns features as (n, d) float32, compared with the training features; see `vectors_to_predict`."""
    from sklearn.utils.validation import validate_data

    with one_line_errors():
        found = validate_data(
            head, flattened(X), reset=False, dtype=np.float32, order="C", ensure_all_finite=False, ensure_min_samples=0
        )
    check_finite(found)
    return np.asarray(found)


def plain_maps(head: Any, X: Any, *, least: int = 0) -> Any:
    """Returns an array of numbers of two or more dimensions; maps in a bank are returned as they are.

    Raises:
        HeadInputError: X has one dimension, fewer than `least` rows, or no features.
        TypeError: X is sparse, or holds something that is no number.
    """
    if hasattr(X, "batch"):
        return X
    from sklearn.utils.validation import check_array

    with one_line_errors():
        found = check_array(X, allow_nd=True, ensure_all_finite=False, ensure_min_samples=least, estimator=head)
        if 0 in found.shape[1:]:  # scikit-learn looks at tables alone
            shape = " x ".join(map(str, found.shape[1:]))
            message = (
                f"Found array with 0 feature(s) (shape=({len(found)}, 0)) while a minimum of 1 is required: {shape}"
            )
            raise HeadInputError(message)
        return found


def check_fitted(head: Any) -> None:
    """Raises NotFittedError if a head is not fitted."""
    if not hasattr(head, "classes_"):
        from featurebank.errors import NotFittedError  # it imports scikit-learn

        message = f"{type(head).__name__} is not fitted yet: call fit first"
        raise NotFittedError(message)


def flattened(X: Any) -> Any:
    """Returns arrays of more than two dimensions, and maps in a bank, as (n, d); everything else as it is."""
    if hasattr(X, "batch"):
        X = np.asarray(X)
    if not isinstance(X, np.ndarray) or X.ndim <= 2:  # noqa: PLR2004 - rows and columns
        return X
    return X.reshape(len(X), math.prod(X.shape[1:]))  # -1 would not work without rows


def _weighed(X: Any, y: np.ndarray, sample_weight: Any) -> TrainingRows:
    if sample_weight is None:
        return TrainingRows(X, y)
    from sklearn.utils.validation import _check_sample_weight

    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    used = weights > 0
    if not used.any():
        message = "all sample weights are zero: expected a weight above 0 for some images"
        raise HeadInputError(message)
    if not used.all():
        X, y, weights = X[used], y[used], weights[used]
    return TrainingRows(X, y, None if (weights == 1).all() else weights)


def flat_features(X: np.ndarray, expected: int | None = None) -> np.ndarray:
    """Returns features as (n, d) float32; maps are flattened.

    Args:
        X: (n, ...) features.
        expected: the d that the head was trained on; None takes any.

    Raises:
        HeadInputError: d is another one, or a feature is NaN or infinite.
    """
    features = np.ascontiguousarray(X, np.float32)
    flat = features.reshape(len(features), math.prod(features.shape[1:]))
    if expected is not None and flat.shape[1] != expected:
        message = f"features have {counted(flat.shape[1], 'column')}, the head was trained on {expected}"
        raise HeadInputError(message)
    check_finite(flat)
    return flat


def checked_features(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns training features as (n, d) float32.

    Raises:
        HeadInputError: they are not finite, there is not one label for each, or there is one class only.
    """
    flat = flat_features(X)
    check_labels(y, len(flat))
    return flat


def check_labels(y: np.ndarray, images: int) -> None:
    """Checks the labels of so many training images.

    Raises:
        HeadInputError: there is not one label for each, or there is one class only.
    """
    if np.shape(y) != (images,):
        message = f"there are features of {counted(images, 'image')}, but the labels have the shape {np.shape(y)}"
        raise HeadInputError(message)
    classes = len(np.unique(y))
    if classes < 2:  # noqa: PLR2004 - a classifier needs two
        message = f"the training images have {classes} class, expected 2 or more: check the split and the labels"
        raise HeadInputError(message)


def check_finite(X: np.ndarray) -> None:
    """Raises HeadInputError where a feature is NaN or infinite."""
    if not np.isfinite(X).all():
        message = "the features hold NaN or infinite values: extract them again, or leave those rows out"
        raise HeadInputError(message)


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
        HeadInputError: the features are not finite or of another width.
    """
    flat, y = flat_features(X, expected), np.asarray(y)
    known = np.isin(y, classes)
    return (flat[known], np.searchsorted(classes, y[known])) if known.any() else None
