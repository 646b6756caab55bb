"""Centred features, their Gram matrix and its decompositions, computed once for all heads on the same images.

Least squares, discriminants, PCA and Newton's method need only X'X, or XX' if there are fewer images than features. All
of this is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from featurebank.errors import HeadInputError, RamLimitError
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps, Transform, row_blocks
from featurebank.system.runtime import ram_limit, tidy_bytes
from featurebank.words import counted

_ROUNDING = 4 * float(np.finfo(np.float32).eps)
_RANK = 10 * float(np.finfo(np.float64).eps)

Once = Callable[[str, Callable[[], Any]], Any]


class Gram:
    """The centred features of one preprocessing, with their Gram matrix and decompositions; `gram` creates it.

    Args:
        X: (n, d) float32 features after the steps by row.
        standardize: whether to scale each feature to variance 1.
        center: whether to subtract the mean if the features are not standardised.
        once: caches results, as `Shared.once` does.
        weights: (n,) of the images; None for 1 each. They act on means, scales and products: `centred` multiplies
            rows by the roots of their weights, so that X'X is the weighted sum.
    """

    def __init__(
        self, X: np.ndarray, *, standardize: bool, center: bool, once: Once, weights: np.ndarray | None = None
    ) -> None:
        self.X, (self.n, self.d), self._once = X, X.shape, once
        self.nbytes = X.nbytes
        """The bytes of the features in memory."""
        self.of_images = self.n < self.d
        """Whether `matrix` is XX'."""
        self.roots = None if weights is None else np.sqrt(weights)
        """(n,) the roots of the images' weights; None for 1 each."""
        self.total = self.n if weights is None else float(weights.sum())
        """The number of images, or the sum of their weights."""
        self.mean = self._means(weights) if standardize or center else np.zeros(self.d)
        self.scale = self._deviations() if standardize else np.ones(self.d)

    def _means(self, weights: np.ndarray | None) -> np.ndarray:
        if weights is None:
            return np.asarray(self.X.mean(axis=0, dtype=np.float64))
        sums = np.zeros(self.d)
        for rows in row_blocks(self.n, self.d):
            sums += weights[rows] @ self.X[rows].astype(np.float64)
        return sums / self.total

    def _deviations(self) -> np.ndarray:
        squares = np.zeros(self.d)
        for rows in row_blocks(self.n, self.d):
            squares += (self._rooted(self.X[rows] - self.mean, rows) ** 2).sum(axis=0)
        scale = np.sqrt(squares / self.total)
        return constant_as_one(scale, self.mean)

    def centred(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns some training images, centred, scaled and times the roots of their weights (m, d) float64."""
        return self._rooted((self.X[rows] - self.mean) / self.scale, rows)

    @property
    def energy(self) -> float:
        """The sum of the squares of the centred features, times the weights of the images."""
        return sum(float((self.centred(rows) ** 2).sum()) for rows in row_blocks(self.n, self.d))

    def _rooted(self, values: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        return values if self.roots is None else values * self.roots[rows, None]

    @property
    def matrix(self) -> np.ndarray:
        """X'X (d, d), or XX' (n, n) if that is smaller and the features are in memory.

        Raises:
            RamLimitError: the matrix and its decomposition do not fit into memory.
        """
        side = self.n if self.of_images else self.d
        if (needed := 4 * 8 * side**2 + self.nbytes) > ram_limit():
            message = (
                f"an exact head on {self.n} x {counted(self.d, 'feature')} needs {tidy_bytes(needed)} of memory, "
                f"more than the {tidy_bytes(ram_limit())} that --ram allows: use a pooled tap, or a softmax head"
            )
            raise RamLimitError(message)
        return np.asarray(self._once("matrix", self._outer if self.of_images else self._inner))

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """The nonzero eigenvalues of `matrix` (r,), largest first, and their eigenvectors (d or n, r)."""
        values, vectors = self._once("spectrum", self._decomposed)
        return values, vectors

    def _inner(self) -> np.ndarray:
        total = np.zeros((self.d, self.d))
        for rows in row_blocks(self.n, self.d):
            part = self.centred(rows)
            total += part.T @ part
        return total

    def _outer(self) -> np.ndarray:
        total = np.zeros((self.n, self.n))
        for columns in row_blocks(self.d, self.n):
            part = self._rooted((self.X[:, columns] - self.mean[columns]) / self.scale[columns], slice(None))
            total += part @ part.T
        return total

    def _decomposed(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self.matrix)
        keep = np.flatnonzero(values > max(values[-1], 0) * _RANK * len(values))[::-1]
        return values[keep], vectors[:, keep]

    def axes(self, count: int) -> np.ndarray:
        """Returns the first principal axes (d, count), each with the sign that makes its largest entry positive."""
        values, vectors = self.spectrum
        axes = vectors[:, :count]
        if self.of_images:
            axes = self.cross(axes) / np.sqrt(values[:count])
        signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        return np.asarray(axes * signs)

    def cross(self, Y: np.ndarray) -> np.ndarray:
        """Returns X'Y (d, m) of the centred X."""
        total = np.zeros((self.d, Y.shape[1]))
        for rows in row_blocks(self.n, self.d):
            total += self.centred(rows).T @ Y[rows]
        return total

    def class_sums(self, positions: np.ndarray, classes: int) -> np.ndarray:
        """Returns the weighted sums of the centred features over the images of each class, (d, classes)."""
        from scipy.sparse import csr_array

        total = np.zeros((classes, self.d))
        for rows in row_blocks(self.n, self.d):
            part = positions[rows]
            ones = np.ones(len(part)) if self.roots is None else self.roots[rows]
            members = csr_array((ones, (part, np.arange(len(part)))), (classes, len(part)))
            total += members @ self.centred(rows)
        return total.T


def gram(shared: Shared, steps: Steps) -> Gram:
    """Returns the `Gram` of training images after preprocessing; heads with equal steps share one object."""
    key = ("gram", steps.by_column)

    def once(name: str, make: Callable[[], Any]) -> Any:
        return shared.once((*key, name), make)

    def make() -> Gram:
        own = shared.own_gram(steps, once)
        if own is not None:
            return cast("Gram", own)
        features, center = stepped(shared, steps), steps.by_column[-1]
        return Gram(features, standardize=steps.standardize, center=center, once=once, weights=shared.weights)

    return shared.once(key, make)


def constant_as_one(scale: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns deviations (d,), with 1 for each feature whose deviation is within the rounding error of float32.

    Such a feature is constant, as in the neural heads.
    """
    return np.where(scale > _ROUNDING * np.abs(mean), scale, 1.0)


def stepped(shared: Shared, steps: Steps) -> np.ndarray:
    """Returns the training images after the steps by row (n, d) float32."""
    return shared.once(("rows", steps.by_row), lambda: steps.rows(shared.X))


def transform(shared: Shared, steps: Steps) -> Transform:
    """Returns the preprocessing, fitted on the training images.

    Raises:
        HeadInputError: `pca` is larger than the number of images or features.
    """
    return shared.once(("transform", steps), lambda: _transform(shared, steps))


def _transform(shared: Shared, steps: Steps) -> Transform:
    scatter = gram(shared, steps)
    if steps.pca is None:
        return Transform(steps, scatter.mean, scatter.scale)
    most = min(scatter.n, scatter.d)
    if not 1 <= steps.pca <= most:
        message = f"pca is {steps.pca}, expected 1 to {most} (the smaller of images and features)"
        raise HeadInputError(message)
    values, _ = scatter.spectrum
    axes = scatter.axes(min(steps.pca, len(values)))  # the rank of n centred images is n - 1 at most
    if steps.whiten:
        axes = axes / np.sqrt(values[: axes.shape[1]] / scatter.total)
    return Transform(steps, scatter.mean, scatter.scale, axes)
