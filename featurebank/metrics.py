"""How good a head is, from probabilities and labels: numpy, and scipy's distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

SMALLEST = 1e-7
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
    return float(np.mean(_among_best(probabilities, labels, k)))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean categorical cross-entropy in nats."""
    return float(np.mean(_losses(probabilities, labels)))


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of the classes' F1 scores, over the classes that occur in labels or predictions."""
    return _macro_f1(probabilities.argmax(axis=1), labels, probabilities.shape[1])


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns the expected calibration error: the mean distance of confidence and accuracy over equal-width bins.

    References:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
    """
    return _calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean squared distance of the probabilities from the truth, 0 (best) to 2, summed over the classes.

    References:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 78, 1950.
    """
    return float(np.mean(_brier(probabilities, labels)))


def recalls(probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Returns for each class the share of its images that are recognised; None for a class without an image."""
    return _recalls(probabilities.argmax(axis=1) == labels, labels, probabilities.shape[1])


@dataclass(frozen=True)
class Judged:
    """What metrics look at of each image: a few numbers, where probabilities are one number for each class."""

    labels: np.ndarray
    """(n,) integers."""
    predicted: np.ndarray
    """(n,) integers."""
    confidence: np.ndarray
    """(n,) the largest probability."""
    losses: np.ndarray
    """(n,) cross-entropy."""
    squares: np.ndarray
    """(n,) squared distance from the truth."""
    among_five: np.ndarray
    """(n,) bool: whether the own class is among the five most probable."""
    classes: int

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> Judged:
        """Judges the probabilities (n, classes) of images with labels (n,)."""
        found = {
            "predicted": probabilities.argmax(axis=1), "confidence": probabilities.max(axis=1, initial=0.0),
            "losses": _losses(probabilities, labels), "squares": _brier(probabilities, labels),
            "among_five": _among_best(probabilities, labels, 5),
        }  # fmt: skip
        return cls(labels=np.asarray(labels), classes=probabilities.shape[1], **found)

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """Returns parts, of one number of classes, as one."""
        names = ("labels", "predicted", "confidence", "losses", "squares", "among_five")
        found = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**found, classes=parts[0].classes)

    @property
    def right(self) -> np.ndarray:
        """Which images are recognised, (n,) bool."""
        return np.asarray(self.predicted == self.labels)

    def short_scores(self) -> dict[str, float]:
        """Returns `accuracy`, `loss` and `macro_f1`."""
        return {
            "accuracy": float(np.mean(self.right)),
            "loss": float(np.mean(self.losses)),
            "macro_f1": _macro_f1(self.predicted, self.labels, self.classes),
        }

    def scores(self) -> dict[str, Any]:
        """Returns all that is told of some images; see `scores`."""
        return {
            "images": len(self.labels),
            **self.short_scores(),
            "top5_accuracy": float(np.mean(self.among_five)),
            "brier": float(np.mean(self.squares)),
            "calibration_error": _calibration_error(self.confidence, self.right),
            "recall": _recalls(self.right, self.labels, self.classes),
        }

    def scores_with_intervals(self) -> dict[str, Any]:
        """Returns `scores`, and 95 % intervals as `NAME_interval`: Wilson's for shares of images, else bootstrapped."""
        values = self.scores()
        intervals = self.bootstrap_intervals()
        for name in ("accuracy", "top5_accuracy"):
            intervals[name] = proportion_interval(values[name], len(self.labels))
        return {**values, **{f"{name}_interval": list(interval) for name, interval in intervals.items()}}

    def bootstrap_intervals(self, samples: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Returns 95 % intervals of metrics; see `bootstrap_intervals`."""
        rng = np.random.default_rng(seed)
        found: dict[str, list[float]] = {"loss": [], "brier": [], "macro_f1": []}
        for _ in range(samples):
            rows = rng.integers(0, len(self.labels), len(self.labels))
            found["loss"].append(float(self.losses[rows].mean()))
            found["brier"].append(float(self.squares[rows].mean()))
            found["macro_f1"].append(_macro_f1(self.predicted[rows], self.labels[rows], self.classes))
        return {name: _percentiles(values) for name, values in found.items()}


def short_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns `accuracy`, `loss` and `macro_f1` of some images."""
    return Judged.of(probabilities, labels).short_scores()


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns all that is told of some images.

    Returns:
        `images`, `accuracy`, `loss`, `macro_f1`, `top5_accuracy`, `brier`, `calibration_error`, and `recall`, a list
        over the classes.
    """
    return Judged.of(probabilities, labels).scores()


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


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of a few independent values: Student's.

    Args:
        values: two or more.

    References:
        Student, "The Probable Error of a Mean", Biometrika 6, 1908.
    """
    from scipy.special import stdtrit

    mean, count = float(np.mean(values)), len(values)
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(values, ddof=1)) / sqrt(count)
    return mean - half, mean + half


def mcnemar(first_alone: float, second_alone: float) -> float:
    """Returns the p-value of McNemar's test that two heads are right equally often, from paired answers.

    It is the mid-p variant of the exact (binomial) test: the exact one keeps its level by staying far below it where
    few answers differ, which would call heads indistinguishable that are not; mid-p is nearly as safe and as strong as
    the asymptotic test, which is not to be trusted with few differing answers.

    Args:
        first_alone: how many images the first head alone gets right; an average is rounded.
        second_alone: how many the second head alone gets right.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947. Fagerland, Lydersen, Laake, "The McNemar test for binary matched-pairs data: mid-p and
        asymptotic are better than exact conditional", BMC Medical Research Methodology 13:91, 2013.
    """
    from scipy.special import bdtr

    less, more = sorted((round(first_alone), round(second_alone)))
    below = float(bdtr(less - 1, less + more, 0.5)) if less else 0.0
    at = float(bdtr(less, less + more, 0.5)) - below
    return min(1.0, 2 * below + at)


def paired_gain(first: np.ndarray, second: np.ndarray, z: float = 1.959964) -> tuple[float, float, float]:
    """Returns by how much the second of two heads is right more often, with the 95 % interval, from paired answers.

    The interval is Bonett's and Price's: Wald's after one image more for each of the two ways to differ, which keeps
    its level where few answers differ.

    Args:
        first: (n,) bool, which images the first gets right.
        second: (n,) bool, the same of the second.
        z: of the level.

    References:
        Bonett, Price, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired
        Data", Journal of Educational and Behavioral Statistics 37, 2012.
    """
    count = len(first)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    more, less = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    centre, half = more - less, z * sqrt((more + less - (more - less) ** 2) / (count + 2))
    return (gained - lost) / count, max(-1.0, centre - half), min(1.0, centre + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number, in the order given: the chance of any false alarm stays below them.

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    ascending = np.asarray(p_values, float)[order]
    corrected = np.maximum.accumulate(ascending * np.arange(len(order), 0, -1))
    found = np.empty(len(order))
    found[order] = np.minimum(corrected, 1)
    return [float(value) for value in found]


def bootstrap_intervals(
    probabilities: np.ndarray, labels: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns 95 % percentile intervals of `loss`, `brier` and `macro_f1` over resampled images.

    (Not of the calibration error, which any resampling makes larger.)

    Args:
        probabilities: (n, classes).
        labels: (n,) integers.
        samples: how often the images are drawn anew, with replacement.
        seed: of the draws.

    References:
        Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.
    """
    return Judged.of(probabilities, labels).bootstrap_intervals(samples, seed)


def scores_with_intervals(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns `scores`, and 95 % intervals as `NAME_interval`: Wilson's for shares of images, else bootstrapped."""
    return Judged.of(probabilities, labels).scores_with_intervals()


def _among_best(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    k = min(k, probabilities.shape[1])
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return np.asarray((best == labels[:, None]).any(axis=1))


def _calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(which, right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(right))


def _recalls(right: np.ndarray, labels: np.ndarray, count: int) -> list[float | None]:
    recognised = np.bincount(labels[right], minlength=count)
    total = np.bincount(labels, minlength=count)
    return [float(r / n) if n else None for r, n in zip(recognised, total, strict=True)]


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(own, SMALLEST, 1 - SMALLEST)))


def _brier(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray((probabilities**2).sum(axis=1) - 2 * own + 1)


def _macro_f1(predicted: np.ndarray, labels: np.ndarray, count: int) -> float:
    true = np.bincount(labels[predicted == labels], minlength=count)
    total = np.bincount(predicted, minlength=count) + np.bincount(labels, minlength=count)
    occurring = total > 0
    return float(np.mean(2 * true[occurring] / total[occurring]))


def _percentiles(values: list[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def pack(right: np.ndarray) -> str:
    """Returns (n,) bool as a record holds them."""
    return np.packbits(right).tobytes().hex()


def unpack(text: str, count: int) -> np.ndarray:
    """Returns the (count,) bool of what `pack` returned."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)
