"""Datasets that are a table: a CSV or Parquet file with the columns path and label, and optionally split and weight."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.fingerprint import reason
from featurebank.dataset.readers import metadata
from featurebank.dataset.readers.column_names import KNOWN
from featurebank.dataset.readers.layout import split_code
from featurebank.dataset.readers.table_files import Table, from_csv, from_parquet
from featurebank.dataset.remote.fetching import check_urls, fetch, is_url
from featurebank.dataset.sources.folder import absolute
from featurebank.dataset.sources.paths import Paths
from featurebank.dataset.sources.rows import Problems, TableRows, columns
from featurebank.dataset.sources.starts import find_start, with_slashes
from featurebank.dataset.spec_options import join_options, split_options
from featurebank.dataset.splits import UNDECIDED, UNLABELLED
from featurebank.dataset.unlabelled_option import HINT, keeps_unlabelled
from featurebank.dataset.weights import WEIGHT, read_weights
from featurebank.errors import DatasetError
from featurebank.system.files import read_regular

SUFFIXES = (".csv", ".tsv", ".parquet")
"""Suffixes of manifests, in any case."""


def load(argument: str) -> Contents:
    """Loads a manifest: one row per image, with the columns path, label, optionally split and weight, and any others.

    Paths are relative to the manifest's folder, absolute, or URLs. An empty split is decided by content, as everywhere.
    Further columns become metadata. The usual alternative column names are recognized, as "filename" and "class"; so
    are semicolons and tabs between columns, UTF-16, and backslashes in paths.

    Args:
        argument: the path or the URL of a .csv, .tsv or .parquet file; `~` is the home directory. A following
            "#path=A,label=B,split=C,weight=D" names the columns.

    Raises:
        DatasetError: it cannot be read or is wrong; the message lists several problems at once, with their lines.
        MissingDependencyError: a package that the file or a URL needs is not installed.
    """
    argument, options = split_options(argument, (*KNOWN, UNLABELLED))
    renames = {name: value for name, value in options.items() if name != UNLABELLED}
    source = argument if is_url(argument) else absolute(argument)
    problems = Problems(f"manifest '{source}'")
    table = _read(source, problems, renames)
    bare = _bare(source)
    name = path_name(bare[: bare.rindex(".")], source)
    spec = join_options(f"manifest:{source}", options)
    return contents_of_table(table, problems, _folder(bare), name, spec, keep=keeps_unlabelled(options.get(UNLABELLED)))


def contents_of_table(
    table: Table, problems: Problems, folder: str, name: str, spec: str, *, keep: bool = False
) -> Contents:
    """Turns a table into the contents of a dataset.

    Args:
        table: the table, with the columns "path" and "label".
        problems: collects the problems of the table.
        folder: relative paths start from it; a path or a URL.
        name: the name of the dataset.
        spec: its specification.
        keep: whether an image may be without a label.

    Raises:
        DatasetError: the table is wrong, or none of its images exists.
    """
    rows, slashes = _rows(table, folder, problems, keep=keep)
    distinct = columns(rows, problems)
    further, notes = _metadata(table, distinct.keep)
    start, elsewhere = (folder, []) if is_url(folder) else find_start(distinct.ids, folder, problems)
    return Contents(
        name=name,
        spec=spec,
        classes=distinct.classes,
        ids=distinct.ids,
        labels=distinct.labels,
        pixels=Paths(start, distinct.ids),
        predefined=distinct.predefined,
        notes=(*table.notes, *slashes, *elsewhere, *notes, *distinct.notes),
        metadata=further,
        weights=distinct.weights,
        weight_column=table.roles.get(WEIGHT, WEIGHT) if distinct.weights is not None else "",
    )


def _bare(source: str) -> str:
    """Returns a path, or a URL without its query."""
    return source.split("?", 1)[0] if is_url(source) else source


def _folder(path: str) -> str:
    return path.rpartition("/")[0] if is_url(path) else os.path.dirname(path)  # noqa: PTH120 - a Path would rewrite it


def _read(source: str, problems: Problems, renames: Mapping[str, str]) -> Table:
    bare = _bare(source).lower()
    if not bare.endswith(SUFFIXES):
        message = f"'{source}' is not a manifest: expected a file that ends with {', '.join(SUFFIXES)}"
        raise DatasetError(message)
    data = _bytes(source)
    if bare.endswith(".parquet"):
        return from_parquet(data, problems, renames)
    return from_csv(data, "\t" if bare.endswith(".tsv") else ",", problems, renames)


def _bytes(source: str) -> bytes:
    if is_url(source):
        check_urls([source])
    try:
        return fetch(source) if is_url(source) else read_regular(source)
    except FileNotFoundError as error:
        message = f"there is no manifest '{source}': expected a .csv, .tsv or .parquet file; check the path"
        raise DatasetError(message) from error
    except OSError as error:
        what = "address" if is_url(source) else "file"
        message = f"cannot read the manifest '{source}': {reason(error)}; check the {what}"
        raise DatasetError(message) from error


def _rows(table: Table, folder: str, problems: Problems, *, keep: bool) -> tuple[TableRows, list[str]]:
    paths, labels = table.columns["path"], table.columns["label"]
    if not paths:
        problems.stop("lists no images: expected one row for each")
    _check_filled("path", paths, table.place, problems)
    _check_filled("label", labels, table.place, problems, empty=keep)
    if keep and not any(label.strip() for label in set(labels)):
        problems.add("no image has a label: expected images of two classes or more")
    split = table.columns.get("split")
    codes = None if split is None else _codes(split, table.place, problems)
    clean = {label: " ".join(label.split()) for label in set(labels)}
    paths, notes = with_slashes(paths, folder)
    return TableRows(paths, [clean[label] for label in labels], codes, table.place, _weights(table, problems)), notes


def _weights(table: Table, problems: Problems) -> np.ndarray | None:
    column = table.arrays.get(WEIGHT, table.columns.get(WEIGHT))
    if column is None:
        return None
    if not isinstance(column, np.ndarray):  # images without a label may be without a weight
        pairs = zip(column, table.columns["label"], strict=True)
        column = [text if text.strip() or label.strip() else "1" for text, label in pairs]
    return read_weights(column, table.roles.get(WEIGHT, WEIGHT), table.place, problems)


def _check_filled(
    name: str, column: Sequence[str], place: Callable[[int], str], problems: Problems, *, empty: bool = False
) -> None:
    wrong = {text for text in set(column) if "\0" in text or not (text.strip() or empty)}
    hint = HINT if name == "label" else ""  # once: it is the same for all rows
    for row, text in enumerate(column if wrong else ()):
        if text in wrong:
            what = "has a NUL in it" if text.strip() else f"is empty{hint}"
            hint = hint if text.strip() else ""
            problems.add(f"{place(row)}: the {name} {what}")


def _codes(column: Sequence[str], place: Callable[[int], str], problems: Problems) -> list[int]:
    code = {text: UNDECIDED if (code := split_code(text)) is None else code for text in set(column)}
    wrong = {text for text, number in code.items() if number == UNDECIDED and text.strip()}
    for row, text in enumerate(column if wrong else ()):
        if text in wrong:
            problems.add(f"{place(row)}: unknown split '{text}', expected train, val, test or nothing")
    return [code[text] for text in column]


def _metadata(table: Table, keep: list[int] | None) -> tuple[dict[str, np.ndarray], list[str]]:
    further = {name: column for name, column in table.arrays.items() if name not in KNOWN}
    notes: list[str] = []
    for name, column in table.columns.items():
        if name in KNOWN:
            continue
        try:
            further[name] = metadata.from_texts(column)
        except DatasetError as error:
            notes.append(f"column '{name}' holds {error}: omitted")
    return (further if keep is None else {name: column[keep] for name, column in further.items()}), notes
