"""What is done to features before an exact head sees them: to each row, to each column, and to all columns together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 23
"""Numbers that are held in float64 at once where rows are taken in turn."""


@dataclass(frozen=True)
class Steps:
    """The options of the steps, in the order in which they are done."""

    power: float = 1.0
    """Of each feature's magnitude; its sign stays. .5 is the signed square root."""
    normalize: bool = False
    """Whether each row is brought to the length 1."""
    standardize: bool = False
    """Whether each feature is brought to mean 0 and variance 1 over the training images."""
    pca: int | None = None
    """How many principal components are kept; None keeps the features as they are."""
    whiten: bool = False
    """Whether the components are brought to variance 1."""
    center: bool = True
    """Whether the mean is taken off where nothing else asks for it."""

    @property
    def by_row(self) -> tuple[float, bool]:
        """What decides `rows`."""
        return (self.power, self.normalize)

    @property
    def by_column(self) -> tuple[float, bool, bool, bool]:
        """What decides the Gram matrix."""
        return (*self.by_row, self.standardize, self.center or self.pca is not None)

    def rows(self, X: np.ndarray) -> np.ndarray:
        """Returns (n, d) float32 features after the steps that look at one row alone; without any, the same array."""
        if self.power != 1:
            X = np.sign(X) * np.abs(X) ** np.float32(self.power)
        if self.normalize:
            lengths = np.linalg.norm(X, axis=1, keepdims=True)
            X = X / np.where(lengths > 0, lengths, 1)
        return X


@dataclass(frozen=True)
class Transform:
    """Fitted steps: what a head keeps of them to judge other images."""

    steps: Steps
    mean: np.ndarray
    """(d,) float64, taken off."""
    scale: np.ndarray
    """(d,) float64, divided by."""
    axes: np.ndarray | None = None
    """(d, k) float64: the components, whitened where that is asked for."""

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Returns (n, d or k) float64 inputs of (n, d) features."""
        inputs = (self.steps.rows(X) - self.mean) / self.scale
        return np.asarray(inputs if self.axes is None else inputs @ self.axes)


def row_blocks(n: int, d: int, block: int = _BLOCK) -> Iterator[slice]:
    """Yields the rows in parts that fit in memory as float64: of `block` numbers at most."""
    step = max(1, block // max(1, d))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
