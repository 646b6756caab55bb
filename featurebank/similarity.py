"""Which rows of features nearly agree: pure numpy, in blocks, whatever the number of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from featurebank.runtime import limited_blas

_ROWS = 2048
_COLUMNS = 4096
"""Sides of a block of cosines: 32 MB of them, and a copy of six thousand rows of features."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows of different groups with a high cosine, the highest first."""

    first: np.ndarray
    """(k,) int64 rows; of the group with the smaller number."""
    second: np.ndarray
    """(k,) int64 rows."""
    cosines: np.ndarray
    """(k,) float32."""
    total: int
    """How many pairs there are, of which these are the first."""


def near_pairs(
    features: np.ndarray,
    groups: np.ndarray,
    contents: np.ndarray,
    *,
    threshold: float,
    keep: int,
    progress: Callable[[int], None] = lambda count: None,
) -> NearPairs:
    """Finds the pairs of rows of different groups whose cosine is above a threshold.

    Every pair is looked at, by matrix products; what is in memory beside `features` does not depend on their number.

    Args:
        features: (n, d) float32; a row of zeros is near nothing.
        groups: (n,) whole numbers.
        contents: (n,) numbers; rows with the same one are known to be equal, and make no pair.
        threshold: the cosine to exceed.
        keep: how many pairs are returned at most; of equal ones those with the smaller rows.
        progress: called with how many more rows have been compared with all of the later groups.

    Returns:
        The most similar pairs, and how many there are in all.
    """
    order = np.argsort(groups, kind="stable")
    best = _none()
    total = 0
    with limited_blas():
        for start, stop, after in _row_blocks(groups[order]):
            rows = order[start:stop]
            left = _unit(features[rows])
            for begin in range(after, len(order), _COLUMNS):
                columns = order[begin : begin + _COLUMNS]
                found = _above(left @ _unit(features[columns]).T, threshold, rows, columns, contents)
                total += len(found[0])
                best = _merged(best, found, keep)
            progress(stop - start)
    cosines, first, second = best
    return NearPairs(first, second, np.minimum(cosines, np.float32(1)), total)


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _none() -> _Found:
    return np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)


def _row_blocks(groups: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yields start and stop of each block of rows of one group, and where the later groups begin."""
    bounds = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    for begin, end in itertools.pairwise(bounds):
        for start in range(begin, end, _ROWS):
            yield start, min(start + _ROWS, end), end


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    # Scaled first: the squares of features beyond 1e19 are beyond float32.
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    rows = rows / np.where(peak > 0, peak, 1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), np.float32)


def _above(
    cosines: np.ndarray, threshold: float, rows: np.ndarray, columns: np.ndarray, contents: np.ndarray
) -> _Found:
    row, column = np.nonzero(cosines > threshold)
    first, second = rows[row], columns[column]
    other = contents[first] != contents[second]
    return cosines[row[other], column[other]], first[other], second[other]


def _merged(best: _Found, found: _Found, keep: int) -> _Found:
    """Returns the `keep` most similar of both."""
    cosines, first, second = (np.concatenate(pair) for pair in zip(best, found, strict=True))
    if len(cosines) > keep:  # millions where everything looks alike: most are dropped before sorting
        likely = cosines >= np.partition(cosines, -keep)[-keep]
        cosines, first, second = cosines[likely], first[likely], second[likely]
    order = np.lexsort((second, first, -cosines))[:keep]
    return cosines[order], first[order], second[order]
