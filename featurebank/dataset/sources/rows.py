"""Datasets that are tables: rows of path, label, split and weight, checked as a whole before any image is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from featurebank.dataset.class_names import in_order
from featurebank.dataset.splits import NO_LABEL, predefined_splits
from featurebank.errors import DatasetError

_SHOWN = 5


@dataclass
class Problems:
    """The problems of a table: the first few in full, the others counted, reported all at once.

    Args:
        source: the table, as "manifest 'photos.csv'".
    """

    source: str
    lines: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: str) -> None:
        """Records one problem."""
        self.count += 1
        if len(self.lines) < _SHOWN:
            self.lines.append(" ".join(line.split()))  # values of a table may contain line breaks

    def stop(self, line: str) -> NoReturn:
        """Raises DatasetError for a problem that prevents further checks."""
        message = f"{self.source}: {line}"
        raise DatasetError(message)

    def check(self) -> None:
        """Raises DatasetError if there are problems."""
        if self.count:
            more = f"; and {self.count - len(self.lines)} more" if self.count > len(self.lines) else ""
            self.stop(f"{'; '.join(self.lines)}{more}")


@dataclass(frozen=True)
class TableRows:
    """The columns of a table.

    Args:
        paths: the paths as written.
        labels: class names; "" for images without a label.
        codes: split codes, -1 for undecided; None if the table has no splits.
        place: returns the location of a row, as "line 7".
        weights: (n,) float64; None if the table has no weights.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    codes: Sequence[int] | None
    place: Callable[[int], str]
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Columns:
    """A table with each image only once.

    Args:
        keep: the rows of the original table; None for all.
        ids: the paths.
        classes: the class names, sorted.
        labels: (n,) int32 indices into `classes`.
        predefined: (n,) int8 split codes, -1 for undecided; None if no split is given.
        notes: notes for the user.
        weights: (n,) float64; None if the table has no weights.
    """

    keep: list[int] | None
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    predefined: np.ndarray | None
    notes: tuple[str, ...]
    weights: np.ndarray | None = None


def columns(rows: TableRows, problems: Problems) -> Columns:
    """Turns rows into the columns of a dataset.

    A repeated path with the same label, split and weight is the same image; with others it is a problem.

    Raises:
        DatasetError: there is any problem.
    """
    keep = _distinct(rows, problems)
    problems.check()
    selected = range(len(rows.paths)) if keep is None else keep
    labels = [rows.labels[index] for index in selected]
    classes = in_order(set(labels) - {""})
    number = {"": NO_LABEL, **{name: index for index, name in enumerate(classes)}}
    codes = np.fromiter((number[label] for label in labels), np.int32, len(labels))
    again = len(rows.paths) - len(selected)
    note = f"{again} row{'' if again == 1 else 's'} with a repeated path: each image counts once"
    return Columns(
        keep=keep,
        ids=tuple(rows.paths[index] for index in selected),
        classes=classes,
        labels=codes,
        predefined=None if rows.codes is None else predefined_splits([rows.codes[index] for index in selected], codes),
        notes=(note,) if again else (),
        weights=None if rows.weights is None else rows.weights[list(selected)],
    )


def _distinct(rows: TableRows, problems: Problems) -> list[int] | None:
    """Returns the first row of each path, or None if these are all rows."""
    if len(set(rows.paths)) == len(rows.paths):
        return None
    first: dict[str, int] = {}
    keep: list[int] = []
    for index, path in enumerate(rows.paths):
        known = first.setdefault(path, index)
        if known == index:
            keep.append(index)
            continue
        where = f"{rows.place(index)}: '{path}' is already listed in {rows.place(known)}, there"
        if rows.labels[index] != rows.labels[known]:
            problems.add(f"{where} as '{rows.labels[known]}', here as '{rows.labels[index]}'")
        elif rows.codes is not None and rows.codes[index] != rows.codes[known]:
            problems.add(f"{where} in another split")
        elif rows.weights is not None and rows.weights[index] != rows.weights[known]:
            problems.add(f"{where} with the weight {rows.weights[known]:g}, here with {rows.weights[index]:g}")
    return keep
