"""Leave-one-out predictions of ridge regression, and the targets that it is fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from featurebank.heads.exact.base import one_hot
from featurebank.heads.exact.coordinates import Factor, reduced
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.exact.transforms import Steps, row_blocks

LOO_PENALTIES = np.logspace(-4, 2, 25)
"""What `alpha="loo"` tries, in units of the mean variance of a coordinate of the features, summed over the images."""

_HIGH = 0.9
"""The leverage above which float32 has fewer than five digits of 1 - h."""


def loo_predictions(shared: Shared, steps: Steps, alphas: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the exact leave-one-out predictions of ridge regression.

    No further head is fitted: if h is the leverage of an image and r its residual, the residual of a fit without the
    image is r / (1 - h). The preceding steps (standardisation, components) use all images.

    Args:
        shared: the training images.
        steps: what is done to them before.
        alphas: the penalties; one decomposition serves them all.

    Returns:
        Logits (alphas, n, classes) float64, as those of `RidgeHead`.
    """
    left_out = _LeftOut(shared, steps, alphas)
    logits = np.empty((len(alphas), len(shared.positions), len(shared.classes)))
    for rows in row_blocks(len(shared.positions), left_out.width):
        for position, part in enumerate(left_out.logits(rows)):
            logits[position, rows] = part
    return logits


def loo_accuracies(shared: Shared, steps: Steps, alphas: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the share of images that `loo_predictions` classifies correctly for each penalty: (alphas,)."""
    left_out, right = _LeftOut(shared, steps, alphas), np.zeros(len(alphas))

    def hits(rows: slice | np.ndarray) -> list[float]:
        found = [logits.argmax(axis=1) == shared.positions[rows] for logits in left_out.logits(rows)]
        return [float(own.sum() if shared.weights is None else own @ shared.weights[rows]) for own in found]

    def add(found: list[float]) -> None:
        right[:] += found

    if isinstance(shared, StreamedShared):
        shared.passes.run_rows(hits, add, what="leaving one out", width=left_out.width)
    else:
        for rows in row_blocks(len(shared.positions), left_out.width):
            add(hits(rows))
    return np.asarray(right / shared.total)


class _LeftOut:
    """The predictions of ridge regression for images that are left out, with several penalties."""

    def __init__(self, shared: Shared, steps: Steps, alphas: Sequence[float] | np.ndarray) -> None:
        self._shared, self._coordinates, self._mean = shared, reduced(shared, steps), mean_target(shared)
        self._factors = [self._coordinates.factor(1.0, float(alpha)) for alpha in alphas]
        self._halves = [factor.half(products(shared, steps)) for factor in self._factors]
        self.width = max(8 * self._coordinates.size, len(self._mean))
        """The number of values in memory for each image of a part."""

    def logits(self, rows: slice | np.ndarray) -> Iterator[np.ndarray]:
        """Yields the logits of some images (m, classes), for each penalty."""
        shared, weights, coordinates = self._shared, self._shared.weights, self._coordinates
        own = 1 / len(shared.positions) if weights is None else weights[rows] / shared.total
        single, targets = coordinates.columns(rows, np.float32), _targets(shared, rows)
        for factor, half in zip(self._factors, self._halves, strict=True):
            leverage, predicted = _leverage(factor, half, single)
            if leverage.max() + np.max(own) > _HIGH:
                leverage, predicted = _leverage(factor, half, coordinates.columns(rows))
            rest = 1 - own - leverage
            if weights is not None:
                predicted = predicted / np.sqrt(weights[rows])[:, None]
            yield targets - (targets - self._mean - predicted) / rest[:, None]


def _leverage(factor: Factor, half: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the leverage (m,) of some images, and what their centred targets are predicted to be (m, classes)."""
    part = factor.half(columns)
    return np.einsum("ij,ij->j", part, part, dtype=np.float64), np.asarray(part.T @ half.astype(part.dtype))


def _unit(shared: Shared) -> float:
    """Returns the target of an image's own class: 1, or 1/2 of two classes, where the softmax sees their difference."""
    return 0.5 if len(shared.classes) == 2 else 1.0  # noqa: PLR2004


def _targets(shared: Shared, rows: slice | np.ndarray) -> np.ndarray:
    """Returns the targets (m, classes) of some images: +-1, and +-1/2 for two classes."""
    return (2 * one_hot(shared.positions[rows], len(shared.classes)) - 1) * _unit(shared)


def mean_target(shared: Shared) -> np.ndarray:
    """Returns the mean of the targets of all images (classes,)."""
    return np.asarray((2 * shared.counts / shared.total - 1) * _unit(shared))


def products(shared: Shared, steps: Steps) -> np.ndarray:
    """Returns F'Y (size, classes) of the coordinates and the targets."""

    def make() -> np.ndarray:
        sums = reduced(shared, steps).class_sums(shared.positions, len(shared.classes))
        return np.asarray((2 * sums - sums.sum(axis=1, keepdims=True)) * _unit(shared))

    return shared.once(("ridge", steps), make)


def penalties(alpha: Any, shared: Shared, steps: Steps) -> np.ndarray:
    """Returns the penalties that `RidgeHead.alpha` stands for, in ascending order."""
    if not isinstance(alpha, str):
        return np.array(sorted(float(value) for value in alpha))
    scatter = gram(shared, steps)
    return np.asarray(LOO_PENALTIES * np.trace(scatter.matrix) / min(scatter.n, scatter.d))
