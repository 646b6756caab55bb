"""The objective of logistic regression over images that stay in the bank: one pass for each value and gradient.

The search and its variables are those of images in memory, with the same iterates up to rounding. The features are
multiplied as they are, without their mean, by weights that are brought back from the coordinates of the search: so a
pass costs two products with as many columns as there are classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from featurebank.heads.exact.coordinates import DenseFactor, Factor, Precision, reduced
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.logistic_search import CURVATURE, TOLERANCES, log_probabilities
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.exact.transforms import Steps, row_blocks

_Part = TypeVar("_Part")


class StreamedProblem:
    """The objective for weights and bias (size + 1, classes) of the reduced coordinates; see `Problem`.

    Args:
        shared: the training images.
        steps: what is done to them before.
        penalty: of the weights.
        dtype: of the products of the features.
        bias: whether there is one.
    """

    def __init__(self, shared: StreamedShared, steps: Steps, penalty: float, dtype: Precision, *, bias: bool) -> None:
        self._shared, self._steps, self._penalty, self._dtype, self._bias = shared, steps, penalty, dtype, bias
        self._coordinates, self._classes = reduced(shared, steps), len(shared.classes)
        mean = gram(shared, steps).mean
        self._axes = self._coordinates.lift(np.eye(self._coordinates.size))
        """(d, size): coordinates are centred features times these."""
        self._origin: np.ndarray = mean.astype(dtype)
        self._rest = mean - self._origin  # what float32 does not hold of the mean

    @property
    def tolerance(self) -> float:
        """Where the search may end."""
        return TOLERANCES[self._dtype]

    def bound(self, weights: np.ndarray) -> tuple[Factor, float]:
        """See `Problem.bound`."""
        total = 0.0

        def work(rows: np.ndarray) -> float:
            return sum(float(self._weighted(self._bends(logs), part).sum()) for _, part, logs in self._parts(rows, own))

        def add(part: float) -> None:
            nonlocal total
            total += part

        own = self._linear(weights)
        if weights.any():
            self._run(work, add)
            mean = total / self._shared.total
        else:  # all probabilities are equal
            mean = 1 / self._classes
        bend = max(CURVATURE, mean)
        return self._coordinates.factor(bend, self._penalty), float(np.sqrt(bend * self._shared.total))

    def local(self, weights: np.ndarray) -> tuple[Factor, float]:
        """See `Problem.local`: two passes, of which the first takes the largest curvature."""
        own, most, total = self._linear(weights), 0.0, 0.0
        product = np.zeros((len(self._axes),) * 2)

        def largest(rows: np.ndarray) -> float:
            return max(float(self._bends(logs).max()) for _, _, logs in self._parts(rows, own))

        def keep(part: float) -> None:
            nonlocal most
            most = max(most, part)

        def multiply(rows: np.ndarray) -> tuple[np.ndarray, float]:
            square, bent = np.zeros_like(product), 0.0
            for features, part, logs in self._parts(rows, own):
                bends = self._weighted(np.maximum(self._bends(logs), CURVATURE * most), part)
                scaled = features * np.sqrt(bends).astype(self._dtype)[:, None]
                square += scaled.T @ scaled
                bent += float(bends.sum())
            return square, bent

        def add(part: tuple[np.ndarray, float]) -> None:
            nonlocal total
            product[:] += part[0]
            total += part[1]

        self._run(largest, keep)
        self._run(multiply, add)
        product = self._axes.T @ product @ self._axes
        product[np.diag_indices_from(product)] += self._penalty
        return DenseFactor(product), float(np.sqrt(total))

    def __call__(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the objective and its gradient (size + 1, classes)."""
        own, loss = self._linear(weights), 0.0
        slopes, sums = np.zeros((len(self._axes), self._classes)), np.zeros(self._classes)

        def work(rows: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            lost, products, summed = 0.0, np.zeros_like(slopes), np.zeros_like(sums)
            for features, part, logs in self._parts(rows, own):
                true_class = np.arange(len(logs)), self._shared.positions[part]
                lost -= float(self._weighted(logs[true_class], part).sum())
                slope = np.exp(logs)
                slope[true_class] -= 1
                slope = self._weighted(slope, part)
                products += features.T @ slope.astype(self._dtype)
                summed += slope.sum(axis=0)
            return lost, products, summed

        def add(part: tuple[float, np.ndarray, np.ndarray]) -> None:
            nonlocal loss
            loss += part[0]
            slopes[:] += part[1]
            sums[:] += part[2]

        self._run(work, add)
        gradient = self._penalty * weights
        gradient[:-1] += self._axes.T @ (slopes - np.outer(self._rest, sums))
        gradient[-1] = sums if self._bias else 0
        return loss + self._penalty / 2 * float((weights[:-1] ** 2).sum()), gradient

    def _linear(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weights (d, classes) and the bias of features from which `_origin` is subtracted."""
        lifted = self._axes @ weights[:-1]
        return lifted.astype(self._dtype), weights[-1] - self._rest @ lifted

    def _parts(
        self, rows: np.ndarray, own: tuple[np.ndarray, np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields features (m, d), rows (m,) and log probabilities (m, classes), in parts that fit into a cache."""
        X = self._steps.rows(self._shared.passes.vectors.block(rows).X)
        for part in row_blocks(len(rows), max(32 * X.shape[1], self._classes)):
            features = np.asarray(X[part], self._dtype) - self._origin
            logits = (features @ own[0]).astype(np.float64) + own[1]
            yield features, rows[part], log_probabilities(logits)

    def _bends(self, logs: np.ndarray) -> np.ndarray:
        """Returns each image's curvature (m,), averaged over the classes."""
        p = np.exp(logs)
        return np.asarray((p * (1 - p)).sum(axis=1) / (self._classes - 1))

    def _weighted(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns values (m, ...) of some images, times their weights."""
        if self._shared.weights is None:
            return values
        return np.asarray(values * self._shared.weights[rows].reshape(-1, *[1] * (values.ndim - 1)))

    def _run(self, work: Callable[[np.ndarray], _Part], add: Callable[[_Part], None]) -> None:
        self._shared.passes.run_rows(work, add, what="logistic regression", width=2 * self._classes)
