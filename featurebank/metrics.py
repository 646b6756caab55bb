"""Metrics of heads, computed from probabilities and labels; `statistics` has their intervals and tests.

`METRICS` is the table of the metrics that are computed for every run; runs can be ranked by each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from featurebank.statistics import CalibrationBins, proportion_interval

SMALLEST = 1e-7
"""Probabilities are clipped to this distance from 0 and 1, as in Keras: a confident mistake costs 16, not infinity."""


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the fraction of images whose most probable class is the true one.

    Args:
        probabilities: (n, classes).
        labels: (n,) integers.
    """
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean categorical cross-entropy in nats."""
    return float(np.mean(_losses(probabilities, labels)))


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean F1 score over the classes that occur in the labels or the predictions."""
    return _macro_f1(probabilities.argmax(axis=1), labels, probabilities.shape[1])


def recalls(probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Returns the recall of each class; None for a class without images."""
    return _recalls(probabilities.argmax(axis=1) == labels, labels, probabilities.shape[1])


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


@dataclass(frozen=True)
class ImageScores:
    """The per-image quantities that the metrics need, far smaller than the probabilities themselves."""

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
    """(n,) bool: whether the true class is among the five most probable."""
    classes: int

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> ImageScores:
        """Computes the quantities from probabilities (n, classes) and labels (n,)."""
        columns = {
            "predicted": probabilities.argmax(axis=1), "confidence": probabilities.max(axis=1, initial=0.0),
            "losses": _losses(probabilities, labels), "squares": _brier(probabilities, labels),
            "among_five": _among_best(probabilities, labels, 5),
        }  # fmt: skip
        return cls(labels=np.asarray(labels), classes=probabilities.shape[1], **columns)

    @classmethod
    def joined(cls, parts: Sequence[ImageScores]) -> ImageScores:
        """Concatenates parts that have the same number of classes."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(**columns, classes=parts[0].classes)

    @property
    def right(self) -> np.ndarray:
        """(n,) bool: whether the prediction is correct."""
        return np.asarray(self.predicted == self.labels)

    def select(self, rows: np.ndarray) -> ImageScores:
        """Returns the images at positions (m,), which may be repeated."""
        return ImageScores(**{name: getattr(self, name)[rows] for name in _COLUMNS}, classes=self.classes)

    def short_scores(self) -> dict[str, float]:
        """Returns the metrics that are also computed for training images: `accuracy`, `loss` and `macro_f1`."""
        return {metric.name: metric.of(self) for metric in METRICS.values() if metric.on_training_images}

    def scores(self) -> dict[str, Any]:
        """Returns the number of images, all metrics, and the recall of each class; see the function `scores`."""
        return {
            "images": len(self.labels),
            **{metric.name: metric.of(self) for metric in METRICS.values()},
            "recall": _recalls(self.right, self.labels, self.classes),
        }

    def scores_with_intervals(self) -> dict[str, Any]:
        """Returns `scores`, and 95 % intervals as `NAME_interval`: Wilson's for proportions, else bootstrapped."""
        values = self.scores()
        intervals = self.bootstrap_intervals()
        for metric in METRICS.values():
            if metric.is_share:
                intervals[metric.name] = proportion_interval(values[metric.name], len(self.labels))
        return {**values, **{f"{name}_interval": list(interval) for name, interval in intervals.items()}}

    def bootstrap_intervals(self, samples: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Returns 95 % percentile intervals over resampled images, of the metrics whose `interval` is "bootstrap".

        Args:
            samples: number of bootstrap samples.
            seed: seed of the random generator.

        References:
            Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.
        """
        rng = np.random.default_rng(seed)
        resampled = [metric for metric in METRICS.values() if metric.interval == "bootstrap"]
        draws: dict[str, list[float]] = {metric.name: [] for metric in resampled}
        for _ in range(samples):
            sample = self.select(rng.integers(0, len(self.labels), len(self.labels)))
            for metric in resampled:
                draws[metric.name].append(metric.of(sample))
        return {name: _percentiles(values) for name, values in draws.items()}


_COLUMNS = ("labels", "predicted", "confidence", "losses", "squares", "among_five")
"""The fields of `ImageScores` that have one value for each image."""


@dataclass(frozen=True)
class Metric:
    """A metric of predictions that is recorded for every run and that runs can be ranked by.

    Args:
        name: its key in the metrics of a run.
        of: computes the metric from the per-image quantities, which are fields of `ImageScores`.
        larger_is_better: False for losses and errors.
        interval: how its 95 % interval on the test images is computed. "wilson" is for a fraction of the images, which
            one image changes by 1 / n; such values are compared to the nearest whole image. None for no interval.
        on_training_images: whether it is also computed for training images.
    """

    name: str
    of: Callable[[ImageScores], float]
    larger_is_better: bool = True
    interval: Literal["wilson", "bootstrap"] | None = "bootstrap"
    on_training_images: bool = False

    @property
    def is_share(self) -> bool:
        """Whether it is a fraction of the images."""
        return self.interval == "wilson"

    def goodness(self, value: float) -> float:
        """Returns a value with its sign changed if smaller is better, so that larger is better."""
        return value if self.larger_is_better else -value


ACCURACY = Metric("accuracy", lambda images: float(np.mean(images.right)), interval="wilson", on_training_images=True)
"""The default metric of the ranking of runs."""

METRICS = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric(
            "loss", lambda images: float(np.mean(images.losses)), larger_is_better=False, on_training_images=True
        ),
        Metric(
            "macro_f1", lambda images: _macro_f1(images.predicted, images.labels, images.classes),
            on_training_images=True,
        ),
        Metric("top5_accuracy", lambda images: float(np.mean(images.among_five)), interval="wilson"),
        Metric("brier", lambda images: float(np.mean(images.squares)), larger_is_better=False),
        Metric(
            "calibration_error", lambda images: CalibrationBins.of(images.confidence, images.right).error,
            larger_is_better=False, interval=None,  # resampling inflates it
        ),
    )
}  # fmt: skip
"""Every metric by its name, in the order of a run's record. To add one, add its line here."""


def short_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns `accuracy`, `loss` and `macro_f1`."""
    return ImageScores.of(probabilities, labels).short_scores()


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns all metrics.

    Returns:
        `images`, `accuracy`, `loss`, `macro_f1`, `top5_accuracy`, `brier`, `calibration_error`, and `recall`, a list
        over the classes.
    """
    return ImageScores.of(probabilities, labels).scores()


def scores_with_intervals(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns `scores`, and 95 % intervals as `NAME_interval`: Wilson's for proportions, else bootstrapped."""
    return ImageScores.of(probabilities, labels).scores_with_intervals()


def _among_best(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    k = min(k, probabilities.shape[1])
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return np.asarray((best == labels[:, None]).any(axis=1))


def _recalls(right: np.ndarray, labels: np.ndarray, count: int) -> list[float | None]:
    recognised = np.bincount(labels[right], minlength=count)
    total = np.bincount(labels, minlength=count)
    return [float(r / n) if n else None for r, n in zip(recognised, total, strict=True)]


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(own, SMALLEST, 1 - SMALLEST)))


def _brier(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the squared distance of each image's probabilities from its one-hot label: (n,), 0 (best) to 2.

    References:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 78, 1950.
    """
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
    """Encodes (n,) bool as hexadecimal digits for a record."""
    return np.packbits(right).tobytes().hex()


def unpack(text: str, count: int) -> np.ndarray:
    """Decodes a text of `pack` to (count,) bool."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)
