"""The Gram service: centred features, their Gram matrix, and its decompositions, computed once for all heads.

What least squares, discriminants, components and Newton's method ask of a matrix of features is X'X, or XX' where there
are fewer images than features; all in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from featurebank.errors import HeadError, RamLimitError
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps, Transform, row_blocks
from featurebank.system.runtime import ram_limit
from featurebank.words import counted

_ROUNDING = 4 * float(np.finfo(np.float32).eps)
_RANK = 10 * float(np.finfo(np.float64).eps)

Once = Callable[[str, Callable[[], Any]], Any]


class Gram:
    """The centred features of one setting, and what was computed from them; get it by `gram`.

    Args:
        X: (n, d) float32 features after the steps by row.
        standardize: bring each feature to variance 1.
        center: take the mean off even where they are not standardised.
        once: keeps what is computed; as `Shared.once`.
    """

    def __init__(self, X: np.ndarray, *, standardize: bool, center: bool, once: Once) -> None:
        self.X, (self.n, self.d), self._once = X, X.shape, once
        self.mean = X.mean(axis=0, dtype=np.float64) if standardize or center else np.zeros(self.d)
        self.scale = self._deviations() if standardize else np.ones(self.d)

    def _deviations(self) -> np.ndarray:
        squares = np.zeros(self.d)
        for rows in row_blocks(self.n, self.d):
            squares += ((self.X[rows] - self.mean) ** 2).sum(axis=0)
        scale = np.sqrt(squares / self.n)
        # What varies by no more than float32 resolves at the mean is a constant, as for the neural heads.
        return np.where(scale > _ROUNDING * np.abs(self.mean), scale, 1.0)

    def centred(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns some training images, centred and scaled (m, d) float64."""
        return (self.X[rows] - self.mean) / self.scale

    @property
    def matrix(self) -> np.ndarray:
        """X'X (d, d), or XX' (n, n) where that is smaller.

        Raises:
            RamLimitError: it does not fit in memory with its decomposition.
        """
        side = min(self.n, self.d)
        if (needed := 4 * 8 * side**2 + self.X.nbytes) > ram_limit():
            message = (
                f"an exact head on {self.n} x {counted(self.d, 'feature')} needs {needed / 1e9:.1f} GB of memory, "
                "more than the "
                f"{ram_limit() / 1e9:.1f} GB that --ram allows: take a pooled tap, or a softmax head"
            )
            raise RamLimitError(message)
        return np.asarray(self._once("matrix", self._outer if self.n < self.d else self._inner))

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of `matrix` that are not zero (r,), largest first, and their vectors (d or n, r)."""
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
            part = (self.X[:, columns] - self.mean[columns]) / self.scale[columns]
            total += part @ part.T
        return total

    def _decomposed(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self.matrix)
        keep = np.flatnonzero(values > max(values[-1], 0) * _RANK * len(values))[::-1]
        return values[keep], vectors[:, keep]

    def axes(self, count: int) -> np.ndarray:
        """Returns the first principal axes (d, count), each with the sign that makes its largest entry positive."""
        values, vectors = self.spectrum
        found = vectors[:, :count]
        if self.n < self.d:
            found = self.cross(found) / np.sqrt(values[:count])
        signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
        return np.asarray(found * signs)

    def cross(self, Y: np.ndarray) -> np.ndarray:
        """Returns X'Y (d, m) of the centred X."""
        total = np.zeros((self.d, Y.shape[1]))
        for rows in row_blocks(self.n, self.d):
            total += self.centred(rows).T @ Y[rows]
        return total

    def class_sums(self, positions: np.ndarray, classes: int) -> np.ndarray:
        """Returns X'Y (d, classes) for a Y that has 1 at the class of each image: the sums over each class."""
        from scipy.sparse import csr_array

        total = np.zeros((classes, self.d))
        for rows in row_blocks(self.n, self.d):
            part = positions[rows]
            members = csr_array((np.ones(len(part)), (part, np.arange(len(part)))), (classes, len(part)))
            total += members @ self.centred(rows)
        return total.T


def gram(shared: Shared, steps: Steps) -> Gram:
    """Returns the Gram service for training images and steps; the same for all heads that ask alike."""
    key = ("gram", steps.by_column)
    return shared.once(
        key,
        lambda: Gram(
            stepped(shared, steps), standardize=steps.standardize, center=steps.by_column[-1],
            once=lambda name, make: shared.once((*key, name), make),
        ),
    )  # fmt: skip


def stepped(shared: Shared, steps: Steps) -> np.ndarray:
    """Returns the training images after the steps by row (n, d) float32."""
    return shared.once(("rows", steps.by_row), lambda: steps.rows(shared.X))


def transform(shared: Shared, steps: Steps) -> Transform:
    """Returns the fitted steps.

    Raises:
        HeadError: `pca` is more than there is.
    """
    return shared.once(("transform", steps), lambda: _transform(shared, steps))


def _transform(shared: Shared, steps: Steps) -> Transform:
    found = gram(shared, steps)
    if steps.pca is None:
        return Transform(steps, found.mean, found.scale)
    most = min(found.n, found.d)
    if not 1 <= steps.pca <= most:
        message = f"pca is {steps.pca}, expected 1 to {most} (the smaller of images and features)"
        raise HeadError(message)
    values, _ = found.spectrum
    axes = found.axes(min(steps.pca, len(values)))  # one is missing where all of n images would be asked for
    if steps.whiten:
        axes = axes / np.sqrt(values[: axes.shape[1]] / found.n)
    return Transform(steps, found.mean, found.scale, axes)
