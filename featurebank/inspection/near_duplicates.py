"""Finds near duplicates in different splits: pairs of images whose features in a bank have a high cosine similarity.

The search compares every pair, in blocks of a fixed size, so that its memory does not grow with the number of images.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurebank.bank import Bank, banks_of
from featurebank.bank.index import Finder
from featurebank.bank.manifest import load_manifest
from featurebank.bank.vectors import unit_rows, vector_tap
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError
from featurebank.inspection.survey import ImagePlace, place
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import limited_blas

NEAR = 0.98
"""The cosine similarity above which two images are near duplicates: almost never wrong, but it misses many copies.

Measured with `pooled` of EfficientNet-Lite0 on 100 flower photos. Found at the threshold .98 (.95, .90), of the copies
that were saved as JPEG of quality 90: .67 (.97, 1); of quality 70: .07 (.16, .71); made smaller by a tenth: .76 (.99,
1); cropped by 4 %: .37 (.96, 1); mirrored: .13 (.97, 1). Wrong pairs across splits among 500 flowers: 0 (0, 1); among
2500 images of CIFAR-10: none. So `--near .95` finds more copies of photos; among the digits, it finds 57 wrong pairs.
"""

MOST_PAIRS = 300
"""The maximum number of pairs in the report."""
MOST_COUNTED = 100_000
"""The search ends after this many pairs: so many are not copies, but images that the network cannot distinguish."""

_ROWS = 2048
_COLUMNS = 4096
"""The sides of a block of similarities: 32 MB, with a copy of six thousand rows of features."""


_PairArrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The similarities of pairs, and the rows of their first and second images."""


@dataclass(frozen=True)
class NearPair:
    """Two images of different splits with similar features."""

    a: ImagePlace
    b: ImagePlace
    cosine: float


@dataclass(frozen=True)
class NearDuplicates:
    """The near duplicates in different splits of a dataset."""

    bank: str
    tap: str
    threshold: float
    compared: int
    """The number of images that were compared: those of the dataset that are in the bank."""
    total: int
    """The number of pairs above the threshold, without exact duplicates."""
    pairs: tuple[NearPair, ...]
    """The most similar pairs, at most `MOST_PAIRS`."""
    capped: bool = False
    """Whether the search ended at `total` pairs, so that there may be more."""

    @property
    def least(self) -> str:
        """The words before `total` in a sentence: "more than " if the search ended early."""
        return "more than " if self.capped else ""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows of different groups with a high cosine similarity, the most similar first."""

    first: np.ndarray
    """(k,) int64, the rows in the group with the smaller number."""
    second: np.ndarray
    """(k,) int64, the rows in the other group."""
    cosines: np.ndarray
    """(k,) float32."""
    total: int
    """The number of all pairs above the threshold; k of them are here."""
    capped: bool = False
    """Whether the search ended at `total` pairs. Then there may be more, and more similar ones."""


def bank_of(cache: Path, dataset: Dataset) -> Bank | None:
    """Returns the most recently used bank of a dataset that has a tap of vectors; None if there is none."""
    for summary in banks_of(cache):
        whole = summary.problem is None and summary.images is not None
        if whole and load_manifest(summary.path).dataset.get("spec") == dataset.spec:
            bank = Bank(summary.path)
            if vector_tap(bank):
                return bank
    return None


def near_duplicates(
    dataset: Dataset, usable: np.ndarray, bank: Bank, *, threshold: float = NEAR, reporter: Reporter = SILENT
) -> NearDuplicates:
    """Finds the pairs of images of different splits with similar features.

    Args:
        dataset: the images, with their splits (those of the bank do not matter).
        usable: (n,) bool: the images to compare.
        bank: the bank with their features, which are found by the content of the images. They are read into memory.
        threshold: the minimum cosine similarity, exclusive.
        reporter: shows the progress.

    Raises:
        ConfigError: the bank has none of these images, or no tap of vectors.
        BankError: the bank cannot be read.
    """
    tap = vector_tap(bank)
    if tap is None:
        message = (
            f"bank '{bank.path}' has only taps of maps ({', '.join(bank.taps)}), but near duplicates need vectors: add "
            "a tap with 'featurebank extract --tap pooled'"
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
    """Finds the pairs of rows of different groups whose cosine similarity is above a threshold.

    All pairs are compared, by matrix products; the memory beside `features` does not depend on their number.
    `sklearn.metrics.pairwise_distances_chunked` finds the same pairs, but for each chunk of rows it normalises
    a copy of all features again (on 12,000 x 512, 3.3 s of processor time instead of 0.6 s),
    and squares overflow beyond 1e19.

    Args:
        features: (n, d) float32; a row of zeros is similar to nothing.
        groups: (n,) whole numbers; only rows with different numbers are compared.
        contents: (n,) numbers; rows with equal numbers are exact duplicates, and no pair.
        threshold: the minimum cosine similarity, exclusive.
        keep: the maximum number of pairs to return; among equally similar pairs, those with the smaller rows.
        most: the number of pairs after which the search ends.
        progress: called with the number of further rows that were compared with all later groups.

    Returns:
        The most similar pairs, and the number of all pairs.
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
) -> Iterator[_PairArrays]:
    """Yields the pairs of each block of rows and columns; see `near_pairs`."""
    order = np.argsort(groups, kind="stable")
    for start, stop, after in _row_blocks(groups[order]):
        rows = order[start:stop]
        left = unit_rows(features[rows])
        for begin in range(after, len(order), _COLUMNS):
            columns = order[begin : begin + _COLUMNS]
            yield _above(left @ unit_rows(features[columns]).T, threshold, rows, columns, contents)
        progress(stop - start)


def _none() -> _PairArrays:
    """Returns no pairs."""
    return np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)


def _row_blocks(groups: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yields the start and the end of each block of rows of one group, and the start of the later groups."""
    bounds = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    for begin, end in itertools.pairwise(bounds):
        for start in range(begin, end, _ROWS):
            yield start, min(start + _ROWS, end), end


def _above(
    cosines: np.ndarray, threshold: float, rows: np.ndarray, columns: np.ndarray, contents: np.ndarray
) -> _PairArrays:
    """Returns the pairs of a block above the threshold, without exact duplicates."""
    row, column = np.nonzero(cosines > threshold)
    first, second = rows[row], columns[column]
    other = contents[first] != contents[second]
    return cosines[row[other], column[other]], first[other], second[other]


def _merged(best: _PairArrays, block: _PairArrays, keep: int) -> _PairArrays:
    """Returns the `keep` most similar pairs of both."""
    cosines, first, second = (np.concatenate(pair) for pair in zip(best, block, strict=True))
    if len(cosines) > keep:  # a partition before the sort, because a block can have millions of pairs
        likely = cosines >= np.partition(cosines, -keep)[-keep]
        cosines, first, second = cosines[likely], first[likely], second[likely]
    order = np.lexsort((second, first, -cosines))[:keep]
    return cosines[order], first[order], second[order]


def _matched(dataset: Dataset, usable: np.ndarray, bank: Bank) -> tuple[np.ndarray, np.ndarray]:
    """Finds the images of a dataset in a bank by their content; of exact duplicates, only one in each split.

    Returns:
        The positions of the images in the bank, and their rows in the dataset.
    """
    rows = np.flatnonzero(usable)
    places = Finder(bank.digests()).find(dataset.digests[rows])
    rows, places = rows[places >= 0], places[places >= 0]
    if not len(rows):
        message = (
            f"bank '{bank.path}' has none of the images of '{dataset.spec}': choose another --bank, or create one with "
            "'featurebank extract'"
        )
        raise ConfigError(message)
    contents = np.unique(dataset.digests[rows], return_inverse=True)[1]
    once = np.unique(contents * len(dataset.split_names) + dataset.splits[rows], return_index=True)[1]
    return places[once], rows[once]
