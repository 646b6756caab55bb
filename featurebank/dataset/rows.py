"""Datasets that are tables: rows of path, label and split, checked as a whole before any image is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from featurebank.dataset.splits import TRAIN, UNDECIDED
from featurebank.errors import DatasetError

_SHOWN = 5


@dataclass
class Problems:
    """What is wrong with a table: the first few in full, the others counted, all told at once.

    Args:
        source: the table, as "manifest 'photos.csv'".
    """

    source: str
    lines: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: str) -> None:
        """Keeps one problem."""
        self.count += 1
        if len(self.lines) < _SHOWN:
            self.lines.append(" ".join(line.split()))  # what a table holds may have line breaks

    def stop(self, line: str) -> NoReturn:
        """Raises DatasetError for a problem after which nothing else can be said."""
        message = f"{self.source}: {line}"
        raise DatasetError(message)

    def check(self) -> None:
        """Raises DatasetError if there is any."""
        if self.count:
            more = f"; and {self.count - len(self.lines)} more" if self.count > len(self.lines) else ""
            self.stop(f"{'; '.join(self.lines)}{more}")


@dataclass(frozen=True)
class Rows:
    """The columns of a table.

    Args:
        paths: as written.
        labels: class names.
        codes: split codes, -1 where undecided; None if the table has no splits.
        place: says where a row stands, as "line 7".
    """

    paths: Sequence[str]
    labels: Sequence[str]
    codes: Sequence[int] | None
    place: Callable[[int], str]


def distinct(rows: Rows, problems: Problems) -> list[int] | None:
    """Finds the rows that stand for an image: each path once.

    The same path again, with the same label and split, is the same image. With another label or split it is a problem.

    Returns:
        The indices to keep, or None where all are.
    """
    if len(set(rows.paths)) == len(rows.paths):
        return None
    first: dict[str, int] = {}
    keep: list[int] = []
    for index, path in enumerate(rows.paths):
        known = first.setdefault(path, index)
        if known == index:
            keep.append(index)
            continue
        where = f"{rows.place(index)}: '{path}' is listed in {rows.place(known)} already, there"
        if rows.labels[index] != rows.labels[known]:
            problems.add(f"{where} as '{rows.labels[known]}', here as '{rows.labels[index]}'")
        elif rows.codes is not None and rows.codes[index] != rows.codes[known]:
            problems.add(f"{where} in another split")
    return keep


def repeated_note(total: int, kept: int) -> tuple[str, ...]:
    """Returns the note about paths that are listed more than once, if any is."""
    again = total - kept
    if not again:
        return ()
    return (f"{again} row{'' if again == 1 else 's'} with a path that is listed before: one image each",)


def encode_labels(labels: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the class names, sorted, and (n,) int32 indices into them."""
    classes = tuple(sorted(set(labels)))
    code = {name: index for index, name in enumerate(classes)}
    return classes, np.fromiter((code[label] for label in labels), np.int32, len(labels))


def given_splits(codes: Sequence[int] | None) -> np.ndarray | None:
    """Returns (n,) int8 split codes, or None where nothing is held out, so that no split is given really."""
    if codes is None or set(codes) <= {UNDECIDED} or set(codes) == {TRAIN}:
        return None
    return np.array(codes, np.int8)
