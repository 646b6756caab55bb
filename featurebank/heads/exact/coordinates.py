"""Coordinates in which the Gram matrix of the features is diagonal, so that a penalty costs a rescaling.

Any linear model with an L2 penalty can be fitted there instead, exactly. Where there are fewer images n than features,
there are n coordinates (Hastie and Tibshirani, "Efficient quadratic regularization for expression arrays",
Biostatistics 5, 2004).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.exact.gram import Gram, gram, transform
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps, row_blocks

Precision = type[np.float64] | type[np.float32]


class Factor(Protocol):
    """L of L L' = weight * F'F + shift * I."""

    def half(self, columns: np.ndarray) -> np.ndarray:
        """Returns L^-1 columns."""

    def half_transposed(self, columns: np.ndarray) -> np.ndarray:
        """Returns L'^-1 columns."""


class Reduced(Protocol):
    """Features in coordinates F (n, size) that are good to solve in, times the roots of the images' weights."""

    size: int
    energy: float
    """The sum of the squares of F."""

    def columns(self, rows: slice | np.ndarray, dtype: Precision = np.float64) -> np.ndarray:
        """Returns the coordinates of some training images (size, m), a column each."""

    def class_sums(self, positions: np.ndarray, classes: int) -> np.ndarray:
        """Returns the sums of F over the images of each class (size, classes); `positions` (n,) are their classes."""

    def lift(self, weights: np.ndarray) -> np.ndarray:
        """Returns weights (size, m) of the coordinates as those of features after the steps by row (d, m)."""

    def factor(self, weight: float, shift: float) -> Factor:
        """Returns the factor of weight * F'F + shift * I.

        Raises:
            HeadInputError: that is singular.
        """


class _Spectral:
    """Coordinates for fewer images than features: U sqrt(eigenvalues) of XX' = U diag(eigenvalues) U'."""

    def __init__(self, gram: Gram) -> None:
        self._gram = gram
        self._values, self._vectors = gram.spectrum
        self.size, self.energy = len(self._values), float(self._values.sum())

    def columns(self, rows: slice | np.ndarray, dtype: Precision = np.float64) -> np.ndarray:
        return np.ascontiguousarray((self._vectors[rows] * np.sqrt(self._values)).T, dtype)

    def class_sums(self, positions: np.ndarray, classes: int) -> np.ndarray:
        sums, roots = np.zeros((classes, self.size)), self._gram.roots
        np.add.at(sums, positions, self._vectors if roots is None else self._vectors * roots[:, None])
        return np.asarray(np.sqrt(self._values)[:, None] * sums.T)

    def lift(self, weights: np.ndarray) -> np.ndarray:
        rows = self._vectors @ (weights / np.sqrt(self._values)[:, None])
        return np.asarray(self._gram.cross(rows) / self._gram.scale[:, None])

    def factor(self, weight: float, shift: float) -> Factor:
        return _Diagonal(weight * self._values + shift)


class _Components:
    """Principal components, whitened or not: all of them where there are as many images as features, or more."""

    def __init__(self, gram: Gram, axes: np.ndarray, *, whiten: bool = False, complete: bool = False) -> None:
        self._gram, self._axes, self.size = gram, axes, axes.shape[1]
        self._values = np.full(self.size, float(gram.total)) if whiten else gram.spectrum[0][: self.size]
        self._dependent = complete and self.size < gram.d
        self.energy = float(self._values.sum())

    def columns(self, rows: slice | np.ndarray, dtype: Precision = np.float64) -> np.ndarray:
        centred: np.ndarray = self._gram.centred(rows).T
        return np.ascontiguousarray(self._axes.T.astype(dtype, copy=False) @ centred.astype(dtype, copy=False))

    def class_sums(self, positions: np.ndarray, classes: int) -> np.ndarray:
        return np.asarray(self._axes.T @ self._gram.class_sums(positions, classes))

    def lift(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(self._axes @ weights / self._gram.scale[:, None])

    def factor(self, weight: float, shift: float) -> Factor:
        values = weight * self._values + shift
        if self._dependent and shift <= self._gram.d * np.finfo(np.float64).eps * values.max(initial=0):
            raise _singular()
        return _Diagonal(values)


class _Diagonal:
    def __init__(self, values: np.ndarray) -> None:
        if not (values > 0).all():
            raise _singular()
        self._roots = np.sqrt(values)[:, None]

    def half(self, columns: np.ndarray) -> np.ndarray:
        return np.asarray(columns / self._roots.astype(columns.dtype, copy=False))

    half_transposed = half


def reduced(shared: Shared, steps: Steps) -> Reduced:
    """Returns the training images in the coordinates to solve in.

    Raises:
        HeadInputError: `pca` is more than there is.
    """
    scatter = gram(shared, steps)
    if steps.pca is not None:
        axes = transform(shared, steps).axes
        assert axes is not None
        return _Components(scatter, axes, whiten=steps.whiten)

    def make() -> Reduced:
        return _Spectral(scatter) if scatter.of_images else _Components(scatter, scatter.spectrum[1], complete=True)

    return shared.once(("reduced", steps.by_column), make)


def solve(factor: Factor, columns: np.ndarray) -> np.ndarray:
    """Returns (L L')^-1 columns."""
    return factor.half_transposed(factor.half(columns))


def _singular() -> HeadInputError:
    return HeadInputError("the features depend on each other, and nothing holds their weights: take a larger penalty")


class DenseFactor:
    """The factor of a matrix that is made for one point of a search.

    Args:
        A: (size, size) float64, positive definite.
    """

    def __init__(self, A: np.ndarray) -> None:
        self._root = np.linalg.cholesky(A)

    def half(self, columns: np.ndarray) -> np.ndarray:
        """Returns L^-1 columns."""
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self._root, columns, lower=True, check_finite=False))

    def half_transposed(self, columns: np.ndarray) -> np.ndarray:
        """Returns L'^-1 columns."""
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self._root, columns, lower=True, trans=1, check_finite=False))


def inputs(coordinates: Reduced, n: int, dtype: Precision, roots: np.ndarray | None = None) -> np.ndarray:
    """Returns the coordinates of all images (n, size), without the roots of their weights that F contains."""
    features = np.empty((n, coordinates.size), dtype)
    for rows in row_blocks(n, coordinates.size):
        features[rows] = coordinates.columns(rows, dtype).T
    return features if roots is None else (features / roots[:, None]).astype(dtype)
