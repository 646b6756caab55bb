"""Checks that banks hold the same images, labels, splits, groups and weights, so that their runs can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from featurebank.bank.reader import Bank
from featurebank.errors import ConfigError
from featurebank.words import counted, problem_lines

_NAMED = 3
"""The number of images that a message names."""
_REMEDY = (
    "the runs of these banks cannot be compared: extract them again with the same dataset, the same part of it, the "
    "same --split, --seed and --groups, or name only banks that hold the same images"
)

_CORRECTED = (
    "labels of one of them were corrected: 'featurebank advise --apply FILE.csv --bank BANK' corrects those of another"
)


def check_same_images(banks: Sequence[Bank]) -> None:
    """Checks that banks hold the same images, classes, labels, splits, groups and weights; ids and features may differ.

    Args:
        banks: the banks. The reference is what most of them hold.

    Raises:
        ConfigError: they do not; the message has every difference, with the first images.
    """
    if len(banks) < 2:  # noqa: PLR2004 - nothing to compare
        return
    tables = [_ImageTable(bank) for bank in banks]
    if len({table.identity for table in tables}) <= 1:
        return
    counts = Counter(table.identity for table in tables)
    reference = max(tables, key=lambda table: counts[table.identity])  # the first, if several are as frequent
    problems = [line for table in tables if table.identity != reference.identity for line in _lines(table, reference)]
    corrected = any(table.bank.manifest.dataset.get("corrections") for table in tables)
    message = "\n".join([problem_lines(problems), *[_CORRECTED] * corrected, _REMEDY])
    raise ConfigError(message)


@dataclass(frozen=True)
class _ImageTable:
    """The images of a bank, in an order that depends on their contents alone."""

    bank: Bank

    @cached_property
    def order(self) -> np.ndarray:
        """Positions in `bank.ids()`: (n,) int64."""
        weights = self.bank.sample_weights()
        last = [] if weights is None else [weights]  # images of one content may have several
        return np.lexsort((*last, self.bank.splits(), self.bank.labels(), self.bank.digests()))

    @cached_property
    def digests(self) -> np.ndarray:
        return np.asarray(self.bank.digests()[self.order])

    @cached_property
    def labels(self) -> np.ndarray:
        return np.asarray(self.bank.labels()[self.order])

    @cached_property
    def splits(self) -> np.ndarray:
        return np.asarray(self.bank.splits()[self.order])

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The place of the first image of the same group, for each image: (n,) int64; None without groups."""
        groups = self.bank.groups()
        if groups is None:
            return None
        _, first, numbers = np.unique(groups[self.order], return_index=True, return_inverse=True)
        return np.asarray(first[numbers])

    @cached_property
    def weights(self) -> np.ndarray | None:
        weights = self.bank.sample_weights()
        return None if weights is None else weights[self.order]

    @cached_property
    def identity(self) -> tuple[object, ...]:
        """What has to be equal."""
        columns = (self.digests, self.labels, self.splits, self.groups, self.weights)
        return self.bank.classes, *(None if column is None else column.tobytes() for column in columns)

    def named(self, places: np.ndarray) -> str:
        """Returns the number of some images, by their places in this table, and the ids of the first."""
        ids = ", ".join(f"'{name}'" for name in self.bank.ids_at(self.order[places[:_NAMED]].tolist()))
        first = "" if len(places) <= _NAMED else "the first: "
        return f"{counted(len(places), 'image')} ({first}{ids})"


def _lines(table: _ImageTable, reference: _ImageTable) -> Iterator[str]:
    """Yields one line for each difference of a bank from the reference."""
    mine, theirs = f"'{table.bank.name}'", f"'{reference.bank.name}'"
    count = 0
    for place, line in enumerate(_differences(table, reference, mine, theirs)):
        count = place + 1
        yield line
    if not count:
        yield (
            f"{mine} lists {counted(len(table.digests), 'image')} and {theirs} {len(reference.digests)}: some images "
            "occur several times, and not as often in both"
        )


def _differences(table: _ImageTable, reference: _ImageTable, mine: str, theirs: str) -> Iterator[str]:
    lacks = _first_places(reference.digests, ~np.isin(reference.digests, table.digests))
    if len(lacks):
        yield f"{mine} lacks {reference.named(lacks)} of {theirs}"
    more = _first_places(table.digests, ~np.isin(table.digests, reference.digests))
    if len(more):
        yield f"{mine} has {table.named(more)} that {theirs} lacks"
    common, own, other = np.intersect1d(table.digests, reference.digests, return_indices=True)
    if table.bank.classes != reference.bank.classes:
        yield f"{mine} has the classes {_listed(table.bank.classes)}, but {theirs} {_listed(reference.bank.classes)}"
    elif len(wrong := own[table.labels[own] != reference.labels[other]]):
        yield f"{mine} has another label than {theirs} for {table.named(wrong)}"
    if len(common) and len(moved := own[table.splits[own] != reference.splits[other]]):
        yield f"{mine} has {table.named(moved)} in another split than {theirs}"
    if np.array_equal(table.digests, reference.digests):
        yield from _roles(table, reference, mine, theirs)


def _roles(table: _ImageTable, reference: _ImageTable, mine: str, theirs: str) -> Iterator[str]:
    """Yields a line for groups and one for weights that differ; the images are the same."""
    for name, value, other in (
        ("groups", table.groups, reference.groups), ("weights", table.weights, reference.weights),
    ):  # fmt: skip
        if value is None and other is None:
            continue
        if value is None or other is None:
            has, lacks = (theirs, mine) if value is None else (mine, theirs)
            yield f"{has} has {name} of images, but {lacks} has none"
        elif len(places := np.flatnonzero(value != other)):
            yield f"{mine} has other {name} than {theirs} for {table.named(places)}"


def _first_places(digests: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns the first place of each distinct digest among the chosen ones, in ascending order."""
    places = np.flatnonzero(chosen)
    _, first = np.unique(digests[places], return_index=True)
    return places[np.sort(first)]


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:_NAMED])
    return shown if len(classes) <= _NAMED else f"{shown}, ... ({len(classes)})"
