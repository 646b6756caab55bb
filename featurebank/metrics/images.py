"""What is known of each evaluated image: its class, its probabilities, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMALLEST = 1e-7
"""Probabilities are clipped to this distance from 0 and 1, as in Keras: a confident mistake costs 16, not infinity."""


@dataclass(frozen=True)
class ImageScores:
    """The per-image quantities that the metrics need, with or without the probabilities themselves."""

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
    probabilities: np.ndarray | None = None
    """(n, classes) float32, or float64 where float32 would change a prediction; None if they were too large to hold."""

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray, *, hold: bool = True) -> ImageScores:
        """Computes the quantities from probabilities and labels.

        Args:
            probabilities: (n, classes).
            labels: (n,) integers.
            hold: whether the probabilities are held, too.
        """
        columns = {
            "predicted": probabilities.argmax(axis=1), "confidence": probabilities.max(axis=1, initial=0.0),
            "losses": _losses(probabilities, labels), "squares": _brier(probabilities, labels),
            "among_five": _among_best(probabilities, labels, 5),
        }  # fmt: skip
        held = _compact(probabilities, columns["predicted"]) if hold else None
        return cls(labels=np.asarray(labels), classes=probabilities.shape[1], probabilities=held, **columns)

    @classmethod
    def of_right(cls, right: np.ndarray) -> ImageScores:
        """Returns images of which nothing is known but whether their predictions are correct, (n,) bool."""
        unknown = np.full(len(right), np.nan)
        return cls(
            labels=np.zeros(len(right), np.int64), predicted=(~right).astype(np.int64), confidence=unknown,
            losses=unknown, squares=unknown, among_five=np.asarray(right), classes=2,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[ImageScores]) -> ImageScores:
        """Concatenates parts that have the same number of classes."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        held = [part.probabilities for part in parts if part.probabilities is not None]
        whole = np.concatenate(held) if len(held) == len(parts) else None
        return cls(**columns, classes=parts[0].classes, probabilities=whole)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """(n,) bool: whether the prediction is correct."""
        return np.asarray(self.predicted == self.labels)

    def select(self, rows: np.ndarray) -> ImageScores:
        """Returns the images at positions (m,), which may be repeated."""
        held = None if self.probabilities is None else self.probabilities[rows]
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return ImageScores(**columns, classes=self.classes, probabilities=held)


_COLUMNS = ("labels", "predicted", "confidence", "losses", "squares", "among_five")
"""The fields of `ImageScores` that have one value for each image."""


def recalls_of(images: ImageScores) -> list[float | None]:
    """Returns the recall of each class; None for a class without images."""
    recognised = np.bincount(images.labels[images.right], minlength=images.classes)
    total = np.bincount(images.labels, minlength=images.classes)
    return [float(r / n) if n else None for r, n in zip(recognised, total, strict=True)]


def pack(right: np.ndarray) -> str:
    """Encodes (n,) bool as hexadecimal digits for a record."""
    return np.packbits(right).tobytes().hex()


def unpack(text: str, count: int) -> np.ndarray:
    """Decodes a text of `pack` to (count,) bool."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)


def _compact(probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    small = probabilities.astype(np.float32)
    return small if np.array_equal(small.argmax(axis=1), predicted) else np.asarray(probabilities, np.float64)


def _among_best(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    k = min(k, probabilities.shape[1])
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return np.asarray((best == labels[:, None]).any(axis=1))


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
