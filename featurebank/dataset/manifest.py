"""Datasets that are a table: a CSV or Parquet file with the columns path and label, and split if it is decided."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from featurebank.dataset import metadata
from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.fingerprint import reason
from featurebank.dataset.folder import absolute
from featurebank.dataset.layout import split_code
from featurebank.dataset.paths import Paths
from featurebank.dataset.remote import check_urls, fetch, is_url
from featurebank.dataset.rows import Problems, Rows, columns
from featurebank.dataset.splits import UNDECIDED
from featurebank.dataset.table_files import KNOWN, Table, from_csv, from_parquet
from featurebank.errors import DatasetError
from featurebank.files import read_regular

SUFFIXES = (".csv", ".tsv", ".parquet")
"""What the name of a manifest ends with, in any case."""


def load(argument: str) -> Contents:
    """Reads a manifest: a row an image, with the columns path, label, split if it is decided, and any others.

    Paths are relative to the manifest's folder, absolute, or URLs. An empty split is decided by content, as everywhere.
    Further columns are kept as metadata.

    Args:
        argument: the path or the URL of a .csv, .tsv or .parquet file; `~` is the home directory.

    Raises:
        DatasetError: it cannot be read or is wrong; the message has several problems at once, with their lines.
        MissingDependencyError: a package that the file or a URL needs is not installed.
    """
    source = argument if is_url(argument) else absolute(argument)
    problems = Problems(f"manifest '{source}'")
    table = _read(source, problems)
    rows = _rows(table, problems)
    found = columns(rows, problems)
    further, notes = _metadata(table, found.keep)
    bare = _bare(source)
    return Contents(
        name=path_name(bare[: bare.rindex(".")], source),
        spec=f"manifest:{source}",
        classes=found.classes,
        ids=found.ids,
        labels=found.labels,
        pixels=Paths(_folder(bare), found.ids),
        given=found.given,
        notes=(*table.notes, *notes, *found.notes),
        metadata=further,
    )


def _bare(source: str) -> str:
    """Returns a path, or a URL without what follows a "?"."""
    return source.split("?", 1)[0] if is_url(source) else source


def _folder(path: str) -> str:
    return path.rpartition("/")[0] if is_url(path) else os.path.dirname(path)  # noqa: PTH120 - a Path would rewrite it


def _read(source: str, problems: Problems) -> Table:
    bare = _bare(source).lower()
    if not bare.endswith(SUFFIXES):
        message = f"'{source}' is no manifest: expected a file that ends with {', '.join(SUFFIXES)}"
        raise DatasetError(message)
    data = _bytes(source)
    if bare.endswith(".parquet"):
        return from_parquet(data, problems)
    return from_csv(data, "\t" if bare.endswith(".tsv") else ",", problems)


def _bytes(source: str) -> bytes:
    if is_url(source):
        check_urls([source])
    try:
        return fetch(source) if is_url(source) else read_regular(source)
    except FileNotFoundError as error:
        message = f"there is no manifest '{source}': expected a .csv, .tsv or .parquet file; check the path"
        raise DatasetError(message) from error
    except OSError as error:
        message = f"cannot read the manifest '{source}': {reason(error)}"
        raise DatasetError(message) from error


def _rows(table: Table, problems: Problems) -> Rows:
    paths, labels = table.columns["path"], table.columns["label"]
    if not paths:
        problems.stop("lists no image: expected a row for each")
    if os.sep == "\\":
        paths = [path if is_url(path) else path.replace("\\", "/") for path in paths]
    for name, column in (("path", paths), ("label", labels)):
        _check_filled(name, column, table.place, problems)
    split = table.columns.get("split")
    codes = None if split is None else _codes(split, table.place, problems)
    clean = {label: " ".join(label.split()) for label in set(labels)}
    return Rows(paths, [clean[label] for label in labels], codes, table.place)


def _check_filled(name: str, column: Sequence[str], place: Callable[[int], str], problems: Problems) -> None:
    wrong = {text for text in set(column) if not text.strip() or "\0" in text}
    for row, text in enumerate(column if wrong else ()):
        if text in wrong:
            problems.add(f"{place(row)}: the {name} {'has a NUL in it' if text.strip() else 'is empty'}")


def _codes(column: Sequence[str], place: Callable[[int], str], problems: Problems) -> list[int]:
    code = {text: UNDECIDED if (code := split_code(text)) is None else code for text in set(column)}
    wrong = {text for text, found in code.items() if found == UNDECIDED and text.strip()}
    for row, text in enumerate(column if wrong else ()):
        if text in wrong:
            problems.add(f"{place(row)}: unknown split '{text}', expected train, val, test or nothing")
    return [code[text] for text in column]


def _metadata(table: Table, keep: list[int] | None) -> tuple[dict[str, np.ndarray], list[str]]:
    found = dict(table.arrays)
    notes: list[str] = []
    for name, column in table.columns.items():
        if name in KNOWN:
            continue
        try:
            found[name] = metadata.from_texts(column)
        except DatasetError as error:
            notes.append(f"column '{name}' holds {error}: left out")
    return (found if keep is None else {name: column[keep] for name, column in found.items()}), notes
