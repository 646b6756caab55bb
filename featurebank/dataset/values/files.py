"""Lists and tables of image files as a dataset."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.readers.table_files import Table, from_csv
from featurebank.dataset.remote.fetching import is_url
from featurebank.dataset.sources.paths import Paths
from featurebank.dataset.sources.rows import Problems
from featurebank.dataset.sources.table import contents_of_table
from featurebank.dataset.splits import DEFAULT_FRACTIONS
from featurebank.dataset.values.arrays import class_labels
from featurebank.dataset.values.registry import PREFIX
from featurebank.system import digest

LISTED = "files-"
"""The beginning of the names of these datasets."""
_DIGITS = 12


def from_files(paths: Sequence[str | os.PathLike[str]], labels: Any = None) -> Contents:
    """Makes a dataset of image files.

    Args:
        paths: paths or URLs; relative ones start from the current folder.
        labels: (n,) names or whole numbers; None takes the name of the folder that each file is in.

    Raises:
        DatasetError: there are no files, none exists, or a file has two labels.
    """
    absolute = [_absolute(os.fspath(path)) for path in paths]
    if labels is None:
        names = [PurePosixPath(path.replace(os.sep, "/")).parent.name for path in absolute]
    else:
        names = [str(name) for name in class_labels(labels, len(absolute)).tolist()]
    table = Table({"path": absolute, "label": names}, {}, (), lambda row: f"image {row}")
    return _contents(table, Problems("the list of paths"))


def from_frame(frame: Any, renames: Mapping[str, str] | None = None, *, keep: bool = False) -> Contents:
    """Makes a dataset of a data frame of pandas or polars, one row for each image.

    Args:
        frame: the columns `path` and `label`, optionally `split`, and any others, as in a manifest; paths start from
            the current folder.
        renames: other names of these columns.
        keep: whether an image may be without a label.

    Raises:
        DatasetError: a column is missing or wrong; the message has several problems at once.
    """
    names = [str(name) for name in frame.columns]
    columns = [[_text(value) for value in frame[name].to_list()] for name in frame.columns]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *zip(*columns, strict=True)])
    problems = Problems("the data frame")
    table = from_csv(text.getvalue().encode(), ",", problems, renames or {})
    paths = [_absolute(path) if path.strip() else path for path in table.columns["path"]]
    table = dataclasses.replace(
        table, columns={**table.columns, "path": paths}, place=lambda row: f"row {row} (counted from 0)"
    )
    return _contents(table, problems, keep=keep)


def is_listed(spec: str) -> bool:
    """Returns whether a specification is that of a list or a table of files of a program."""
    return spec.startswith(f"{PREFIX}{LISTED}")


def listed_again(
    ids: Sequence[str], labels: np.ndarray, classes: Sequence[str], groups: np.ndarray | None = None, rule: str = ""
) -> Dataset:
    """Makes a dataset again of what a bank recorded of it, for a process that was not given the list.

    Args:
        ids: the absolute paths.
        labels: (n,) int32 indices into `classes`.
        classes: the names of the classes.
        groups: (n,) the name of each image's group, if images belong to groups.
        rule: the rule of the groups.
    """
    contents = Contents(
        LISTED, PREFIX + LISTED, tuple(classes), tuple(ids), labels, Paths(os.sep, ids), groups=groups, group_rule=rule
    )
    return Dataset(contents, DEFAULT_FRACTIONS, 0)


def _contents(table: Table, problems: Problems, *, keep: bool = False) -> Contents:
    """Makes a dataset of a table, whose digest is a part of its name."""
    contents = contents_of_table(table, problems, os.getcwd(), LISTED, LISTED, keep=keep)  # noqa: PTH109 - a string, as in `Paths`
    splits = [] if contents.predefined is None else contents.predefined.tolist()
    key = digest.of_recipe([list(contents.ids), list(contents.classes), contents.labels.tolist(), splits])
    return dataclasses.replace(contents, name=f"{LISTED}{key[:_DIGITS]}")


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - strings, for a million


def _text(value: Any) -> str:
    """Returns a cell as a text; a missing value is empty."""
    is_missing = value is None or str(value) in {"nan", "NaT", "<NA>"}  # a comparison with pandas's NA is not a bool
    return "" if is_missing else str(value)
