"""How good a head is: pure numpy, from probabilities and labels."""

from __future__ import annotations

from math import sqrt

import numpy as np

_SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1, as Keras does, so that one confident mistake costs 16, not infinity."""


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of images whose most probable class is their own.

    Args:
        probabilities: (n, classes).
        labels: (n,) integers.
    """
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, k: int = 5) -> float:
    """Returns the share of images whose own class is among the `k` most probable."""
    k = min(k, probabilities.shape[1])
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float(np.mean((best == labels[:, None]).any(axis=1)))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean categorical cross-entropy in nats."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.clip(own, _SMALLEST, 1 - _SMALLEST))))


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of the classes' F1 scores, over the classes that occur in labels or predictions."""
    predicted = probabilities.argmax(axis=1)
    count = probabilities.shape[1]
    true = np.bincount(labels[predicted == labels], minlength=count)
    total = np.bincount(predicted, minlength=count) + np.bincount(labels, minlength=count)
    occurring = total > 0
    return float(np.mean(2 * true[occurring] / total[occurring]))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns the expected calibration error: the mean distance of confidence and accuracy over equal-width bins.

    References:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(which, right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns `accuracy`, `loss` and `macro_f1` of some images."""
    return {
        "accuracy": accuracy(probabilities, labels),
        "loss": log_loss(probabilities, labels),
        "macro_f1": macro_f1(probabilities, labels),
    }


def proportion_interval(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Returns the 95 % interval of a share of `count` independent trials: Wilson's, which stays honest near 0 and 1.

    (A bootstrap of 100 right answers out of 100 says "exactly 1"; this says "at least .963".)

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if count == 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_intervals(
    probabilities: np.ndarray, labels: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns 95 % percentile intervals of `loss` and `macro_f1` over resampled images.

    Args:
        probabilities: (n, classes).
        labels: (n,) integers.
        samples: how often the images are drawn anew, with replacement.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(samples)]
    values = {
        "loss": [log_loss(probabilities[rows], labels[rows]) for rows in drawn],
        "macro_f1": [macro_f1(probabilities[rows], labels[rows]) for rows in drawn],
    }
    return {name: _percentiles(found) for name, found in values.items()}


def scores_with_intervals(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | list[float]]:
    """Returns `scores`, and for each a 95 % interval as `NAME_interval`: Wilson's for accuracy, else bootstrapped."""
    values = scores(probabilities, labels)
    intervals = bootstrap_intervals(probabilities, labels)
    intervals["accuracy"] = proportion_interval(values["accuracy"], len(labels))
    return {**values, **{f"{name}_interval": list(interval) for name, interval in intervals.items()}}


def _percentiles(values: list[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
