"""The scale of joined features: each part has the same weight, however many features it has.

Every feature of a tap gets the mean 0 on the training images. Then all features of the tap are divided by one number:
the root of their mean variance, times the square root of their count. So a tap of 2048 features does not outvote one of
384, and within a tap a feature that varies more still counts more, which is worth some points of accuracy (see
`python -m benchmarks joined`). Columns of numbers have the standard deviation 1 each, because their units differ; a
category is 0 or 1, and each column counts as one feature. Finally everything is multiplied by one number, so that
features are about as large as standardised ones, which the defaults of heads expect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from featurebank.heads.joined.encoding import ColumnEncoding

_CONSTANT = 1e-6
"""A feature is constant if its standard deviation is at most this fraction of its largest value."""


@dataclass(frozen=True)
class JoinedScaling:
    """The scale of joined features, and the encoding of their columns."""

    mean: np.ndarray
    """(d,) float32, subtracted first."""
    factor: np.ndarray
    """(d,) float32, multiplied afterwards; 0 for constant features."""
    taps: tuple[tuple[str, int], ...]
    """The taps in the order of the features, each with its number of features."""
    encoding: ColumnEncoding | None = None
    """The encoding of the columns, which come last."""

    @classmethod
    def fit(
        cls, blocks: Iterable[np.ndarray], taps: Sequence[tuple[str, int]], encoding: ColumnEncoding | None = None
    ) -> Self:  # fmt: skip
        """Measures features of training images.

        Args:
            blocks: (b, d) float32 each, together all training images.
            taps: see the attribute.
            encoding: see the attribute.

        Example:
            >>> features = np.array([[0.0, 1, 5], [2, 1, 9]], np.float32)
            >>> scaling = JoinedScaling.fit([features], [("pooled", 2), ("cls", 1)])
            >>> scaling.apply(np.array([[2.0, 1, 5]], np.float32))
            array([[ 1.,  0., -1.]], dtype=float32)
        """
        mean, deviation = _moments(blocks)
        parts = list(_parts(taps, encoding))
        for part in parts:
            own = deviation[part.start : part.stop]
            if not part.columns and own.any():
                own[own > 0] = np.sqrt(np.mean(own[own > 0] ** 2))
        factor = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        for part in parts:
            for start, stop in part.categories:
                mean[start:stop], factor[start:stop] = 0, 1
        sizes = [part.size(factor) for part in parts]
        common = np.sqrt(sum(sizes) / max(1, sum(size > 0 for size in sizes)))
        for part, size in zip(parts, sizes, strict=True):
            factor[part.start : part.stop] *= common / np.sqrt(max(1, size))
        return cls(mean.astype(np.float32), factor.astype(np.float32), tuple(taps), encoding)

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Returns scaled features, (n, d) float32, as a new array."""
        return self.apply_in_place(np.array(X, np.float32))

    def apply_in_place(self, X: np.ndarray) -> np.ndarray:
        """Scales features (n, d) float32 in place, and returns them."""
        X -= self.mean
        X *= self.factor
        return X


@dataclass(frozen=True)
class _Features:
    """The features of one part."""

    start: int
    stop: int
    columns: int = 0
    """The number of columns of metadata; 0 for a tap."""
    categories: tuple[tuple[int, int], ...] = ()
    """The first feature of each column of texts, and the one after its last."""

    def size(self, factor: np.ndarray) -> int:
        """Returns the number of features that count: of a tap, those that are not constant."""
        return self.columns or int(np.count_nonzero(factor[self.start : self.stop]))


def _parts(taps: Sequence[tuple[str, int]], encoding: ColumnEncoding | None) -> Iterator[_Features]:
    start = 0
    for _, width in taps:
        yield _Features(start, start + width)
        start += width
    if encoding is not None:
        ends = (start + np.cumsum([0, *encoding.widths])).tolist()
        texts = [known is not None for known in encoding.categories]
        places = zip(ends, ends[1:], texts, strict=False)
        yield _Features(start, ends[-1], len(texts), tuple((first, last) for first, last, text in places if text))


def _moments(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the standard deviation of each feature, (d,) float64; 0 for a constant one."""
    count, shift, first, second, largest = 0, np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)
    for block in blocks:
        if not count:
            shift = block[0].astype(np.float64)
            first, second, largest = np.zeros_like(shift), np.zeros_like(shift), np.zeros_like(shift)
        rows = block - shift
        count += len(rows)
        first += rows.sum(axis=0)
        second += np.einsum("ij,ij->j", rows, rows)
        np.maximum(largest, np.abs(block).max(axis=0), out=largest)
    mean = first / count
    deviation = np.sqrt(np.maximum(second / count - mean**2, 0))
    deviation[deviation <= _CONSTANT * largest] = 0
    return mean + shift, deviation
