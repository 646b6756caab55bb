"""Sums over training images that stay in the bank, from which Gram matrices, means and class sums are computed.

One pass gives all of them, in float64. Products are those of differences from the mean of the first block. A sum of
squares of the features themselves would lose as many digits as the mean is larger than the deviation; the mean of a
block differs from that of all images by so little that the correction loses none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurebank.heads.exact.transforms import Steps
from featurebank.heads.streamed.passes import Passes
from featurebank.heads.streamed.vectors import VectorBlock


@dataclass(frozen=True)
class Labels:
    """The classes and weights of the training images."""

    positions: np.ndarray
    """(n,) integers, the class of each image."""
    counts: np.ndarray
    """(classes,) the number of images of each class, or the sum of their weights."""
    weights: np.ndarray | None
    """(n,) float64 weights of the images; None for 1 each."""

    def roots(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns the roots of the weights of some images, (b,); None for 1 each."""
        return None if self.weights is None else np.sqrt(self.weights[rows])


@dataclass(frozen=True)
class Moments:
    """Weighted sums of the features after the steps by row."""

    total: float
    """The number of images, or the sum of their weights."""
    mean: np.ndarray
    """(d,) float64."""
    squares: np.ndarray
    """(d,) the sums of the squared differences from the mean."""
    products: np.ndarray | None
    """(d, d) the sums of the products of the differences from the mean; None if they were not asked for."""
    class_sums: np.ndarray
    """(d, classes) the sums of the differences from the mean over the images of each class."""
    counts: np.ndarray
    """See `Labels`."""


def moments(passes: Passes, steps: Steps, labels: Labels, *, products: bool) -> Moments:
    """Computes the sums in one pass.

    Args:
        passes: the training images.
        steps: the preprocessing; only its steps by row apply.
        labels: their classes and weights.
        products: whether to compute the products of all pairs of features.

    Raises:
        HeadInputError, BankDamagedError, StoppedError: see `Passes.run`.
    """
    vectors = passes.vectors
    first = steps.rows(np.asarray(vectors[: min(len(vectors), passes.rows())]))
    origin = first.mean(axis=0, dtype=np.float64)
    d, classes = len(origin), len(labels.counts)
    squares = np.zeros((d, d)) if products else np.zeros(d)
    sums = np.zeros((classes, d))

    def work(block: VectorBlock) -> tuple[np.ndarray, np.ndarray]:
        differences, roots = steps.rows(block.X) - origin, labels.roots(block.rows)
        if roots is not None:
            differences *= roots[:, None]
        own = differences.T @ differences if products else np.einsum("ij,ij->j", differences, differences)
        return own, sums_by_class(differences, labels.positions[block.rows], classes, roots)

    def add(result: tuple[np.ndarray, np.ndarray]) -> None:
        nonlocal squares, sums
        squares += result[0]
        sums += result[1]

    passes.run(work, add, what="summing up", width=2 * d + classes)
    return _centred(origin, squares, sums, labels)


def _centred(origin: np.ndarray, squares: np.ndarray, sums: np.ndarray, labels: Labels) -> Moments:
    """Returns the sums of differences from the mean, from those of differences from `origin`."""
    total = float(labels.counts.sum())
    shift = sums.sum(axis=0) / total
    class_sums = (sums - labels.counts[:, None] * shift).T
    if squares.ndim == 1:
        return Moments(total, origin + shift, squares - total * shift**2, None, class_sums, labels.counts)
    products = squares - total * np.outer(shift, shift)
    return Moments(total, origin + shift, np.diag(products).copy(), products, class_sums, labels.counts)


def sums_by_class(
    values: np.ndarray, positions: np.ndarray, classes: int, factors: np.ndarray | None = None
) -> np.ndarray:
    """Returns the sums of rows (b, d) over the images of each class: (classes, d).

    Args:
        values: (b, d) float64.
        positions: (b,) the class of each row.
        classes: the number of classes.
        factors: (b,) by which each row is multiplied; None for 1 each.
    """
    from scipy.sparse import csr_array

    ones = np.ones(len(positions)) if factors is None else factors
    members = csr_array((ones, (positions, np.arange(len(positions)))), (classes, len(positions)))
    return np.asarray(members @ values)
