"""Is an image like those of the training? The distance of its features to the nearest class.

Features are scaled to length 1. The distance is that of Mahalanobis, with one covariance for all classes: its largest
directions one by one, and the rest as if it were the same in all other directions. AUROC of EfficientNet-Lite0's
features, of flowers against CIFAR-10 and against ImageNet (means of 5 splits), with what would have to be stored:

    this distance                                  .997  .986   0.08 MB
    the same with the whole covariance             .998  .987   3.3 MB
    the same, features not scaled                  .998  .918   3.3 MB
    cosine to the 5th nearest training image       .996  .986   all features
    cosine to the 3rd nearest of 256 images        .997  .986   0.66 MB
    cosine to the nearest class mean               .995  .986   0.01 MB
    Euclidean distance to the nearest class mean   .967  .813   0.01 MB

CIFAR-10 against flowers and ImageNet is easy: all are at 1.000, except for the last (.994 and .987). The mean of the
classes is nearly as good here, but has no measure of how far is far where classes are wide.

References:
    Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
    NeurIPS 2018, arXiv:1807.03888. Mueller, Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization",
    ICML 2025, arXiv:2505.18032.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from featurebank.certainty.scores import ScoreTable, check, numbers
from featurebank.words import counted

DIRECTIONS = 32
"""Maximum number of directions of the covariance that are stored."""
STORED = 300_000
"""Maximum number of stored numbers, of two bytes each: with many classes or wide features, fewer directions fit."""
USUAL = 0.99
"""The share of validation images that count as like the training images, where there are enough of them."""
WIDEST = 1 << 16
_SPARE, _ROUNDS = 16, 4
_SLACK = 1.001
"""Features that another library computes differ by rounding; the image at the limit must not depend on that."""
_LEAST = 1e-9
"""The least variance: features are of length 1, and float16 rounds them to about 1e-4."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """The distance of features to those of the training images, and the distances of validation images.

    Example:
        >>> random = np.random.default_rng(0)
        >>> features = random.normal(size=(400, 8)) + np.repeat([[9.0] * 8, [-9.0] * 8], 200, axis=0)
        >>> likeness = Likeness.of(features[::2], np.repeat([0, 1], 100), features[1::2])
        >>> likeness.unlike(np.array([[9.0] * 8, [9.0, -9.0] * 4])).tolist()
        [False, True]
    """

    mean: np.ndarray
    """(d,) float32, the mean of the scaled features."""
    directions: np.ndarray
    """(r, d) float32, of length 1 and at right angles to each other."""
    variances: np.ndarray
    """(r,) float64, within a class, along each direction."""
    rest: float
    """The variance along any other direction."""
    centres: np.ndarray
    """(classes with training images, r) float32: the mean of each class along the directions."""
    table: ScoreTable
    """The distances of validation images."""

    @classmethod
    def of(
        cls, features: np.ndarray, labels: np.ndarray, validation: np.ndarray, groups: np.ndarray | None = None
    ) -> Self:
        """Fits the distance.

        Args:
            features: (n, d) of training images.
            labels: (n,).
            validation: (m, d) of validation images.
            groups: (m,) the group of each validation image; None without groups.
        """
        rows = scaled(features)
        present, which = np.unique(labels, return_inverse=True)
        mean = rows.mean(axis=0)
        rows = rows - mean
        directions = _largest(rows, _room(len(rows), rows.shape[1], len(present)))
        along = rows @ directions.T
        centres = _means(along, which, len(present))
        spread = (along - centres[which]).astype(np.float64)
        values, turn = np.linalg.eigh(spread.T @ spread / len(spread))
        beyond = max(1, rows.shape[1] - len(directions))
        rest = float(np.maximum((rows**2).sum(axis=1) - (along**2).sum(axis=1), 0).mean(dtype=np.float64)) / beyond
        turn = turn.astype(np.float32)
        fitted = cls(
            _halved(mean), _halved(turn.T @ directions), np.maximum(values, _LEAST), max(rest, _LEAST),
            _halved(centres @ turn), ScoreTable.of(np.empty(0)),
        )  # fmt: skip
        return replace(fitted, table=ScoreTable.of(fitted.distances(validation), groups))

    @property
    def width(self) -> int:
        """The number of features of an image."""
        return len(self.mean)

    @property
    def limit(self) -> float:
        """The distance beyond which an image is unlike those of the training.

        `USUAL` of the validation images are nearer; where there are too few for that, all of them are.
        """
        limit = self.table.limit(USUAL)
        return _SLACK * (limit if np.isfinite(limit) else float(self.table.values.max(initial=0.0)))

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Returns the distance of each image to the nearest class, squared and divided by d: (n,) float64.

        Args:
            features: (n, d).
        """
        rows = scaled(features) - self.mean
        along = (rows @ self.directions.T).astype(np.float64)
        beyond = np.maximum((rows.astype(np.float64) ** 2).sum(axis=1) - (along**2).sum(axis=1), 0) / self.rest
        steps = np.sqrt(self.variances)
        own, centres = along / steps, self.centres / steps
        squares = (own**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * own @ centres.T
        return np.asarray((np.maximum(squares, 0).min(axis=1) + beyond) / self.width)

    def unlike(self, features: np.ndarray) -> np.ndarray:
        """Returns which images are unlike those of the training, (n,) bool."""
        return np.asarray(~(self.distances(features) <= self.limit))

    def compare(self, features: np.ndarray) -> tuple[list[bool], list[float]]:
        """Returns whether each image is unlike those of the training, and how many validation images are more so."""
        distances = self.distances(features)
        return (~(distances <= self.limit)).tolist(), self.table.share_above(distances).tolist()

    def to_json(self) -> dict[str, Any]:
        """Returns the distance as JSON values; arrays are float16 in base64."""
        arrays = {name: _packed(getattr(self, name)) for name in ("mean", "directions", "centres")}
        return {
            "width": self.width, "directions": len(self.directions), "classes": len(self.centres), "arrays": arrays,
            "variances": self.variances.tolist(), "rest": self.rest, "table": self.table.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `to_json` returned.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        width, count, classes = (value[name] for name in ("width", "directions", "classes"))
        check(all(type(one) is int and one > 0 for one in (width, count, classes)), "sizes")
        check(width <= WIDEST and count <= DIRECTIONS and count * (width + classes) <= STORED + WIDEST, "sizes")
        shapes = {"mean": (width,), "directions": (count, width), "centres": (classes, count)}
        arrays = [_unpacked(value["arrays"][name], shape) for name, shape in shapes.items()]
        variances, rest = numbers(value["variances"]), numbers([value["rest"]])
        check(len(variances) == count and min(variances.min(), rest.min()) >= _LEAST / 2, "variances")
        mean, directions, centres = arrays
        return cls(mean, directions, variances, float(rest[0]), centres, ScoreTable.from_json(value["table"]))


def scaled(features: np.ndarray) -> np.ndarray:
    """Returns features at length 1, (n, d) float32; the zero vector stays what it is."""
    rows = np.asarray(features, np.float32)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = np.asarray(rows / np.where(largest > 0, largest, 1), np.float32)  # their squares might not fit into it
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))


def _room(rows: int, width: int, classes: int) -> int:
    """Returns the number of directions that training images determine and that a file has space for."""
    return max(1, min(DIRECTIONS, (rows - classes) // 2, width - 1, STORED // (width + classes)))


def _largest(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns the directions of the largest variance of centred rows, (count, d) float32, by subspace iteration.

    References:
        Halko, Martinsson, Tropp, "Finding Structure with Randomness", SIAM Review 53, 2011.
    """
    width = min(count + _SPARE, *rows.shape)
    basis: np.ndarray = np.random.default_rng(0).standard_normal((rows.shape[1], width), np.float32)
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(rows.T @ np.linalg.qr(rows @ basis)[0])
    _, _, turned = np.linalg.svd(rows @ basis, full_matrices=False)
    return np.asarray((turned @ basis.T)[:count])


def _means(rows: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean of the rows of each class, (count, r) float32."""
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, which, rows)
    return np.asarray(sums / np.bincount(which, minlength=count)[:, None], np.float32)


def _halved(values: np.ndarray) -> np.ndarray:
    """Returns numbers with the precision that is stored, float32."""
    return values.astype("<f2").astype(np.float32)


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _unpacked(text: Any, shape: tuple[int, ...]) -> np.ndarray:
    check(isinstance(text, str) and len(text) <= 4 * (STORED + WIDEST), "an array")
    data = base64.b64decode(text, validate=True)
    check(len(data) == 2 * int(np.prod(shape)), f"an array of {counted(int(np.prod(shape)), 'number')}")
    values = np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)
    check(bool(np.isfinite(values).all()), "an array")
    return values
