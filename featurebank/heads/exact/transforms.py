"""The preprocessing of features in exact heads: by row (power, length), by column (standardisation), and PCA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 23
"""The maximum number of values that are converted to float64 at a time."""


@dataclass(frozen=True)
class Steps:
    """The options of the preprocessing steps, in the order in which they are applied."""

    power: float = 1.0
    """The exponent of each feature's magnitude; the sign is kept. .5 is the signed square root."""
    normalize: bool = False
    """Whether each row is scaled to length 1."""
    standardize: bool = False
    """Whether each feature is scaled to mean 0 and variance 1 over the training images."""
    pca: int | None = None
    """The number of principal components; None uses the features themselves."""
    whiten: bool = False
    """Whether the components are scaled to variance 1."""
    center: bool = True
    """Whether the mean is subtracted if neither `standardize` nor `pca` requires it."""

    @property
    def by_row(self) -> tuple[float, bool]:
        """The options that determine `rows`."""
        return (self.power, self.normalize)

    @property
    def by_column(self) -> tuple[float, bool, bool, bool]:
        """The options that determine the Gram matrix."""
        return (*self.by_row, self.standardize, self.center or self.pca is not None)

    def rows(self, X: np.ndarray) -> np.ndarray:
        """Applies the steps by row; returns (n, d) float32 features, the same array if there are no such steps."""
        if self.power != 1:
            X = np.sign(X) * np.abs(X) ** np.float32(self.power)
        if self.normalize:
            lengths = np.linalg.norm(X, axis=1, keepdims=True)
            X = X / np.where(lengths > 0, lengths, 1)
        return X


@dataclass(frozen=True)
class Transform:
    """The fitted preprocessing, which a head applies to new features."""

    steps: Steps
    mean: np.ndarray
    """(d,) float64, which is subtracted."""
    scale: np.ndarray
    """(d,) float64, by which the features are divided."""
    axes: np.ndarray | None = None
    """(d, k) float64: the principal components, scaled if `whiten`."""

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Returns the preprocessed features: (n, d), or (n, k) with PCA, float64."""
        inputs = (self.steps.rows(X) - self.mean) / self.scale
        return np.asarray(inputs if self.axes is None else inputs @ self.axes)


def row_blocks(n: int, d: int, block: int = _BLOCK) -> Iterator[slice]:
    """Yields slices of n rows of d values, each with at most `block` values (but at least one row)."""
    step = max(1, block // max(1, d))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
