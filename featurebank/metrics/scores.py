"""The metrics of predictions as functions of probabilities and labels, and all of them as a record has them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np

from featurebank.metrics.images import ImageScores, recalls_of
from featurebank.metrics.significance import confidence_interval
from featurebank.metrics.table import ACCURACY, METRICS

LARGE = 1 << 16
"""With more probabilities, some metrics take longer than a head of a joint program is trained: these are computed when
they are asked for."""


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the fraction of images whose most probable class is the true one.

    Args:
        probabilities: (n, classes).
        labels: (n,) integers.
    """
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean categorical cross-entropy in nats."""
    return METRICS["loss"].of(ImageScores.of(probabilities, labels, hold=False))


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean F1 score over the classes that occur in the labels or the predictions."""
    return METRICS["macro_f1"].of(ImageScores.of(probabilities, labels, hold=False))


def recalls(probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Returns the recall of each class; None for a class without images."""
    return recalls_of(ImageScores.of(probabilities, labels, hold=False))


def confusion_counts(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the images of each true class (row) and predicted class (column): (classes, classes) int64."""
    counts = np.zeros((probabilities.shape[1], probabilities.shape[1]), np.int64)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    return counts


def confusions(counts: np.ndarray, classes: Sequence[str]) -> list[tuple[str, str, int]]:
    """Returns the confusions as (true class, predicted class, number of images), the most frequent first.

    Args:
        counts: the result of `confusion_counts`.
        classes: the names of the classes.
    """
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    pairs = [divmod(place, len(classes)) for place in order.tolist()]
    return [(classes[row], classes[column], int(wrong[row, column])) for row, column in pairs]


def short_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns `accuracy`, `loss` and `macro_f1`."""
    return short_scores_of(ImageScores.of(probabilities, labels, hold=False))


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns all metrics.

    Returns:
        `images`, each metric of the table by its name, and `recall`, a list over the classes. A metric that is not
        defined for these images, such as the area under the ROC curve of one class, is left out.
    """
    return scores_of(ImageScores.of(probabilities, labels), costly=True)


def scores_with_intervals(
    probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns `scores`, and 95 % intervals as `NAME_interval`: Wilson's for proportions, else bootstrapped.

    `groups` is the number of groups, if there are groups: the intervals count these then. With too few groups, the
    interval of the accuracy is that of ignorance, 0 to 1, and the others are left out.

    Args:
        probabilities: (n, classes).
        labels: (n,) integers.
        groups: (n,) the group of each image, if images of one group are not independent.
    """
    images = ImageScores.of(probabilities, labels)
    values = scores_of(images, costly=True)
    intervals = {
        metric.key: confidence_interval(metric, images, groups) for metric in METRICS.values() if metric.key in values
    }
    known = {f"{name}_interval": list(interval) for name, interval in intervals.items() if interval is not None}
    known.setdefault(f"{ACCURACY.key}_interval", [0.0, 1.0])
    count = {} if groups is None else {"groups": len(np.unique(groups))}
    return {**values, **known, **count}


def short_scores_of(images: ImageScores) -> dict[str, float]:
    """Returns the metrics that are also computed for training images: `accuracy`, `loss` and `macro_f1`."""
    return {metric.key: metric.of(images) for metric in METRICS.values() if metric.on_training_images}


def scores_of(images: ImageScores, *, costly: bool = False) -> dict[str, Any]:
    """Returns all metrics of images; see `scores`.

    Args:
        images: the images.
        costly: also compute metrics that sort the probabilities of many images for each class; see `LARGE`.
    """
    held = images.probabilities
    whole = costly or (held is not None and held.size <= LARGE)
    values = {
        metric.key: metric.of(images)
        for metric in METRICS.values()
        if metric.can_score(images) and (whole or not metric.needs_probabilities)
    }
    known = {key: value for key, value in values.items() if not isnan(value) or key == ACCURACY.key}
    return {"images": len(images), **known, "recall": recalls_of(images)}
