"""The metrics that are no means over images, each for several weightings of the images at once.

A weighting is a row of (m, n) numbers of 0 or more: how often each image counts. A bootstrap sample is such a row. So
one pass over the images gives the metric of many bootstrap samples. The results are (m,) float64, NaN where a metric is
not defined.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featurebank.metrics.images import ImageScores


def balanced_accuracy(images: ImageScores, weights: np.ndarray) -> np.ndarray:
    """Returns the mean recall over the classes that have images.

    References:
        Brodersen, Ong, Stephan, Buhmann, "The Balanced Accuracy and Its Posterior Distribution", ICPR 2010.
    """
    total = _sums(weights, images.labels, images.classes)
    right = _sums(weights * images.right, images.labels, images.classes)
    return _mean_over(np.divide(right, total, where=total > 0, out=np.zeros_like(total)), total > 0)


def macro_f1(images: ImageScores, weights: np.ndarray) -> np.ndarray:
    """Returns the mean F1 score over the classes that occur in the labels or the predictions."""
    right = _sums(weights * images.right, images.labels, images.classes)
    total = _sums(weights, images.labels, images.classes) + _sums(weights, images.predicted, images.classes)
    return _mean_over(np.divide(2 * right, total, where=total > 0, out=np.zeros_like(total)), total > 0)


def auroc(images: ImageScores, weights: np.ndarray) -> np.ndarray:
    """Returns the mean area under the ROC curves of each class against the others, over classes with both.

    References:
        Hanley, McNeil, "The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve",
        Radiology 143, 1982.
    """
    total, defined = np.zeros(len(weights)), np.zeros(len(weights))
    for positive, ends, sorted_weights in _classes(images, weights):
        ups, downs = (_steps(sorted_weights * which, ends) for which in (positive, ~positive))
        above = np.cumsum(ups, axis=1)
        areas = ((above - ups / 2) * downs).sum(axis=1)
        pairs = above[:, -1] * downs.sum(axis=1)
        total += np.divide(areas, pairs, where=pairs > 0, out=np.zeros_like(areas))
        defined += pairs > 0
    return _quotient(total, defined)


def average_precision(images: ImageScores, weights: np.ndarray) -> np.ndarray:
    """Returns the mean over the classes with images of the average precision of finding them among all images.

    The average precision is the sum of the precisions at each threshold, weighted by the gain of recall, without
    interpolation, as in scikit-learn.
    """
    total, defined = np.zeros(len(weights)), np.zeros(len(weights))
    for positive, ends, sorted_weights in _classes(images, weights):
        ups, every = _steps(sorted_weights * positive, ends), _steps(sorted_weights, ends)
        found, seen = np.cumsum(ups, axis=1), np.cumsum(every, axis=1)
        precision = np.divide(found, seen, where=seen > 0, out=np.zeros_like(found))
        total += _quotient((precision * ups).sum(axis=1), found[:, -1], 0.0)
        defined += found[:, -1] > 0
    return _quotient(total, defined)


def _classes(images: ImageScores, weights: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields the images in the order of falling probability, for each class that some but not all images have.

    Yields:
        Which images are of the class, (n,) bool; the last positions of equal probabilities, (k,); the weights (m, n).
    """
    assert images.probabilities is not None
    for place in np.unique(images.labels):
        scores = images.probabilities[:, place]
        order = np.argsort(-scores, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
        yield images.labels[order] == place, ends, weights[:, order]


def _steps(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the sums of values (m, n) over the images of equal probability, (m, k)."""
    if len(ends) == values.shape[1]:
        return values
    return np.asarray(np.add.reduceat(values, np.append(0, ends[:-1] + 1), axis=1))


def _sums(weights: np.ndarray, places: np.ndarray, classes: int) -> np.ndarray:
    """Returns the sum of the weights of each class, (m, classes)."""
    result = np.zeros((len(weights), classes))
    if len(weights) == 1:
        result[0] = np.bincount(places, weights[0], minlength=classes)
        return result
    order = np.argsort(places, kind="stable")
    present, starts = np.unique(places[order], return_index=True)
    if len(present):
        result[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return result


def _mean_over(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return _quotient((values * counted).sum(axis=1), counted.sum(axis=1))


def _quotient(above: np.ndarray, below: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Returns above / below, (m,); another value where `below` is 0."""
    return np.asarray(np.divide(above, below, where=below > 0, out=np.full(len(above), otherwise)))
