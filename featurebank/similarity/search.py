"""The rows of a bank that are nearest to some vectors by cosine, exactly, in one pass over the features.

Each shard is memory-mapped in turn. Float32 products give every cosine up to a rounding error whose bound is known;
the few rows that the bound cannot exclude are computed again in float64. So the result depends neither on the number
of threads nor on the BLAS library, and no copy of the features is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.rows import ShardPart, as_float32
from featurebank.bank.vectors import scan, unit_rows
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import side_by_side

DECIMALS = 9
"""Cosines are rounded to so many decimals: those that differ only by rounding errors are equal."""
_BLOCK_BYTES = 2 << 20
"""Features that are multiplied at a time, so that norms and products both find them in the cache."""
_QUERIES = 512
"""Vectors of one pass: their cosines with the rows of a shard take 8 MB a thread."""
_RESCORED = 512
"""Rows that are computed again at a time."""
_SQUARES = (1e-30, 1e30)
"""Squares of norms that float32 holds without overflow or loss; other rows are scaled first."""

Nearest = tuple[np.ndarray, np.ndarray]
"""Positions in `Bank.ids()`, (k,) int64, and their cosines, (k,) float64: the nearest first."""


def nearest(
    bank: Bank, tap: str, vectors: np.ndarray, top: int, *, progress: Callable[[int], None] = lambda count: None
) -> list[Nearest]:
    """Finds the images of a bank whose clean features have the highest cosine with some vectors.

    Args:
        bank: the bank.
        tap: one of its taps; maps are averaged, see `as_vectors`.
        vectors: (q, d) features of the same tap.
        top: the number of images for each vector; fewer if the bank has fewer.
        progress: called with the number of images that were compared with up to 512 vectors.

    Returns:
        The nearest images of each vector; among equally near ones, those that come first in `bank.ids()`. A row of
        zeros has the cosine 0 with every other.

    Raises:
        UnknownNameError: the bank has no such tap.
        BankDamagedError: a shard is missing or damaged.
    """
    found: list[Nearest] = []
    for start in range(0, len(vectors), _QUERIES):
        batch = np.asarray(vectors[start : start + _QUERIES], np.float64)

        def search(parts: list[ShardPart], batch: np.ndarray = batch) -> list[Nearest]:
            return _search(parts, batch, top, progress)

        found += scan(bank, tap, search)
    return found


def as_vectors(rows: np.ndarray) -> np.ndarray:
    """Returns features as vectors: (n, d) unchanged, maps (n, ..., d) as their averages, (n, d) float64."""
    if rows.ndim == 2:  # noqa: PLR2004 - images and features
        return rows
    averages: np.ndarray = rows.mean(axis=tuple(range(1, rows.ndim - 1)), dtype=np.float64)
    return averages


def cosines(rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Returns the cosines of rows with one vector: (n,) float64, rounded to `DECIMALS`.

    Args:
        rows: (n, d) features.
        unit: (d,) float64 of length 1, or zeros.
    """
    # Sums along rows do not depend on the other rows, unlike those of matrix products: equal rows have equal cosines.
    rows = unit_rows(np.asarray(rows, np.float64))
    return np.asarray(np.round((rows * unit).sum(axis=1), DECIMALS))


@dataclass
class _Search:
    """What is known of the nearest rows while shards are compared."""

    unit: np.ndarray
    """(q, d) float64."""
    top: int
    best: list[Nearest]

    def __post_init__(self) -> None:
        self.factors = np.ascontiguousarray(self.unit.T, np.float32)
        """(d, q)."""
        self.error = (len(self.factors) + 8) * 2.0**-23
        """Bound of the rounding error of a float32 cosine, of its product and of the norm together."""

    def floor(self, query: int) -> float:
        """Returns the cosine that a row must reach to be among the nearest."""
        values = self.best[query][1]
        return float(values[-1]) if len(values) == self.top else -np.inf

    def compare(self, part: ShardPart) -> list[Nearest]:
        """Returns the nearest rows of a shard for each query, without those that cannot be among the nearest of all."""
        stored = part.read()
        approximate = self._approximate(stored)[part.rows]
        return [self._nearest_of(stored, part, approximate[:, query], query) for query in range(len(self.unit))]

    def merge(self, nearest_of_part: list[Nearest]) -> None:
        """Adds the nearest rows of a shard."""
        for query, more in enumerate(nearest_of_part):
            if len(more[0]):
                positions, values = (np.concatenate(pair) for pair in zip(self.best[query], more, strict=True))
                self.best[query] = _first(positions, values, self.top)

    def _approximate(self, stored: np.ndarray) -> np.ndarray:
        """Returns the cosines of all rows of a shard with all queries, (rows, q) float32, each within `error`."""
        result = np.empty((len(stored), self.factors.shape[1]), np.float32)
        step = max(1, _BLOCK_BYTES // max(1, 4 * int(np.prod(stored.shape[1:]))))
        for start in range(0, len(stored), step):
            block = np.asarray(as_vectors(as_float32(stored[start : start + step])), np.float32)
            here = result[start : start + len(block)]
            with np.errstate(all="ignore"):  # rows out of float32's range are computed again
                squares = np.einsum("ij,ij->i", block, block)
                np.matmul(block, self.factors, out=here)
                here /= np.sqrt(squares)[:, np.newaxis]
            unsafe = ~((squares > _SQUARES[0]) & (squares < _SQUARES[1]))
            if unsafe.any():
                here[unsafe] = unit_rows(block[unsafe]) @ self.factors
        return result

    def _nearest_of(self, stored: np.ndarray, part: ShardPart, approximate: np.ndarray, query: int) -> Nearest:
        places = np.flatnonzero(approximate >= self.floor(query) - self.error)
        if len(places) > self.top:
            least = np.partition(approximate[places], -self.top)[-self.top]
            places = places[approximate[places] >= least - 2 * self.error]
        best = _NONE
        for start in range(0, len(places), _RESCORED):
            here = places[start : start + _RESCORED]
            exact = cosines(as_vectors(stored[part.rows[here]]), self.unit[query])
            best = _first(np.append(best[0], part.positions[here]), np.append(best[1], exact), self.top)
        return best


_NONE: Nearest = (np.empty(0, np.int64), np.empty(0))


def _search(parts: list[ShardPart], vectors: np.ndarray, top: int, progress: Callable[[int], None]) -> list[Nearest]:
    state = _Search(unit_rows(vectors), top, [_NONE] * len(vectors))
    with side_by_side() as count:  # one thread of BLAS for each shard
        for part, nearest_of_part in zip(
            parts, ordered_map(state.compare, parts, name="similar", count=count), strict=True
        ):
            state.merge(nearest_of_part)
            progress(len(part.positions))
    return state.best


def _first(positions: np.ndarray, values: np.ndarray, top: int) -> Nearest:
    """Returns the `top` highest values with their positions; among equal ones, the first positions."""
    order = np.lexsort((positions, -values))[:top]
    return positions[order], values[order]
