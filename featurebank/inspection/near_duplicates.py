"""Images that nearly agree, across splits, by the features of a bank: every pair, in blocks, whatever their number."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurebank.bank import Bank, banks_of
from featurebank.bank.index import Finder
from featurebank.bank.manifest import load_manifest
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError
from featurebank.inspection.survey import ImagePlace, place
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import limited_blas

NEAR = 0.98
"""The cosine of two features above which their images are called near duplicates: hardly ever wrong, not complete.

Measured with `pooled` of EfficientNet-Lite0 on 100 flower photos and copies of them: above .98 (.95, .90) are of copies
saved as JPEG of quality 90 .67 (.97, 1), of quality 70 .07 (.16, .71), made smaller by a tenth .76 (.99, 1), cropped by
4 % .37 (.96, 1), mirrored .13 (.97, 1). Of images that are no copies, pairs across splits among 500 flowers 0 (0, 1),
among 2500 of CIFAR-10 none. So --near .95 finds more where the images are photos; of the digits it calls 57 pairs
alike that are not.
"""

MOST_PAIRS = 300
"""How many pairs are listed."""
MOST_COUNTED = 100_000
"""Where there are more pairs, the search ends: they are no copies, but images that the network does not tell apart."""

_ROWS = 2048
_COLUMNS = 4096
"""Sides of a block of cosines: 32 MB of them, and a copy of six thousand rows of features."""


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Cosines of pairs, and the rows of both."""


@dataclass(frozen=True)
class NearPair:
    """Two images of different splits that look alike to a backbone."""

    a: ImagePlace
    b: ImagePlace
    cosine: float


@dataclass(frozen=True)
class NearDuplicates:
    """What the features of a bank say about images of different splits."""

    bank: str
    tap: str
    threshold: float
    compared: int
    """Images that were compared: those of the bank that are in the dataset."""
    total: int
    """Pairs above the threshold, without those that are the same image byte by byte."""
    pairs: tuple[NearPair, ...]
    """The first of them, the most similar first."""
    capped: bool = False
    """Whether there are more than `total`: the search ended there."""

    @property
    def least(self) -> str:
        """What stands before `total` in a sentence."""
        return "more than " if self.capped else ""


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
    capped: bool = False
    """Whether there are more than `total`: the search ended there, and these are the first of what it had seen."""


def bank_of(cache: Path, dataset: Dataset) -> Bank | None:
    """Returns the bank of a cache that holds features of a dataset, the last used of several; None if there is none."""
    for summary in banks_of(cache):
        whole = summary.problem is None and summary.images is not None
        if whole and load_manifest(summary.path).dataset.get("spec") == dataset.spec:
            bank = Bank(summary.path)
            if _vector_tap(bank):
                return bank
    return None


def near_duplicates(
    dataset: Dataset, usable: np.ndarray, bank: Bank, *, threshold: float = NEAR, reporter: Reporter = SILENT
) -> NearDuplicates:
    """Finds the images of different splits that look alike to the backbone of a bank.

    Args:
        dataset: the images; their splits are its own, not those of the bank.
        usable: (n,) bool: those to look at.
        bank: features of them, found by their content. One copy of the tap is held in memory.
        threshold: the cosine to exceed.
        reporter: where progress is shown.

    Raises:
        ConfigError: the bank has none of these images, or no tap that is a vector.
        BankError: the bank cannot be read.
    """
    tap = _vector_tap(bank)
    if tap is None:
        message = (
            f"bank '{bank.path}' has the taps {', '.join(bank.taps)}, all of them maps: near duplicates are found by "
            "vectors; add one with 'featurebank extract --tap pooled'"
        )
        raise ConfigError(message)
    places, rows = _matched(dataset, usable, bank)
    features = bank.rows(tap, places)
    contents = np.unique(dataset.digests[rows], return_inverse=True)[1]
    with reporter.track("compare", len(rows), "images") as advance:
        result = near_pairs(
            features, dataset.splits[rows], contents, threshold=threshold, keep=MOST_PAIRS, progress=advance
        )
    pairs = tuple(
        NearPair(place(dataset, int(rows[a])), place(dataset, int(rows[b])), float(cosine))
        for a, b, cosine in zip(result.first, result.second, result.cosines, strict=True)
    )
    return NearDuplicates(str(bank.path), tap, threshold, len(rows), result.total, pairs, result.capped)


def near_pairs(
    features: np.ndarray,
    groups: np.ndarray,
    contents: np.ndarray,
    *,
    threshold: float,
    keep: int,
    most: int = MOST_COUNTED,
    progress: Callable[[int], None] = lambda count: None,
) -> NearPairs:
    """Finds the pairs of rows of different groups whose cosine is above a threshold.

    Every pair is looked at, by matrix products; what is in memory beside `features` does not depend on their number.
    `sklearn.metrics.pairwise_distances_chunked` finds the same pairs, but for each chunk of rows it normalises
    a copy of all features again (on 12,000 x 512, 3.3 s of processor time instead of 0.6 s),
    and squares overflow beyond 1e19.

    Args:
        features: (n, d) float32; a row of zeros is near nothing.
        groups: (n,) whole numbers.
        contents: (n,) numbers; rows with the same one are known to be equal, and make no pair.
        threshold: the cosine to exceed.
        keep: how many pairs are returned at most; of equal ones those with the smaller rows.
        most: how many pairs are counted; where there are more, the search ends.
        progress: called with how many more rows have been compared with all of the later groups.

    Returns:
        The most similar pairs, and how many there are in all.
    """
    best, total = _none(), 0
    with limited_blas():
        for block in _blocks(features, groups, contents, threshold, progress):
            total += len(block[0])
            best = _merged(best, block, keep)
            if total > most:
                break
    cosines, first, second = best
    return NearPairs(first, second, np.minimum(cosines, np.float32(1)), min(total, most), total > most)


def _blocks(
    features: np.ndarray,
    groups: np.ndarray,
    contents: np.ndarray,
    threshold: float,
    progress: Callable[[int], None],
) -> Iterator[_Found]:
    """Yields the pairs of one block of rows and columns after the other; see `near_pairs`."""
    order = np.argsort(groups, kind="stable")
    for start, stop, after in _row_blocks(groups[order]):
        rows = order[start:stop]
        left = _unit(features[rows])
        for begin in range(after, len(order), _COLUMNS):
            columns = order[begin : begin + _COLUMNS]
            yield _above(left @ _unit(features[columns]).T, threshold, rows, columns, contents)
        progress(stop - start)


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


def _merged(best: _Found, block: _Found, keep: int) -> _Found:
    """Returns the `keep` most similar of both."""
    cosines, first, second = (np.concatenate(pair) for pair in zip(best, block, strict=True))
    if len(cosines) > keep:  # millions where everything looks alike: most are dropped before sorting
        likely = cosines >= np.partition(cosines, -keep)[-keep]
        cosines, first, second = cosines[likely], first[likely], second[likely]
    order = np.lexsort((second, first, -cosines))[:keep]
    return cosines[order], first[order], second[order]


def _vector_tap(bank: Bank) -> str | None:
    vectors = [tap for tap in bank.taps if len(bank.tap_shape(tap)) == 1]
    return "pooled" if "pooled" in vectors else next(iter(vectors), None)


def _matched(dataset: Dataset, usable: np.ndarray, bank: Bank) -> tuple[np.ndarray, np.ndarray]:
    """Finds the images of a dataset in a bank, by their content; of those with the same content one of each split.

    Returns:
        Positions in the bank, and for each the row of the dataset.
    """
    rows = np.flatnonzero(usable)
    places = Finder(bank.digests()).find(dataset.digests[rows])
    rows, places = rows[places >= 0], places[places >= 0]
    if not len(rows):
        message = (
            f"bank '{bank.path}' has none of the images of '{dataset.spec}': give another --bank, "
            "or make one with 'featurebank extract'"
        )
        raise ConfigError(message)
    contents = np.unique(dataset.digests[rows], return_inverse=True)[1]
    once = np.unique(contents * len(dataset.split_names) + dataset.splits[rows], return_index=True)[1]
    return places[once], rows[once]
