"""The files that a manifest may be: CSV by the standard library, Parquet by Arrow; columns out."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from featurebank.dataset.rows import Problems
from featurebank.errors import MissingDependencyError

NEEDED = ("path", "label")
KNOWN = (*NEEDED, "split")

_EXPECTED = "expected the columns path,label[,split] and any others"
_BLOCK = 1 << 13


@dataclass(frozen=True)
class Table:
    """A manifest as it was read, checked for nothing but its form.

    Args:
        columns: the texts of each column that holds texts, by name.
        arrays: the columns that the file holds as numbers or booleans, by name.
        notes: what was left out.
        place: says where a row stands, as "line 7".
    """

    columns: dict[str, Sequence[str]]
    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...]
    place: Callable[[int], str]


def from_csv(data: bytes, delimiter: str, problems: Problems) -> Table:
    """Reads a CSV file: UTF-8 (a byte order mark may be there), names in the first line, quotes as `csv` has them.

    Raises:
        DatasetError: it is not such a file, or lacks a column.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.stop(f"line {line} is not UTF-8: save the file as UTF-8")
    reader = _reader(text, delimiter)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        _check_header(header, problems)
        columns = _columns(reader, len(header))
    except csv.Error as error:
        problems.stop(f"line {reader.line_num} is not valid CSV: {error}")
    if columns is None:
        for line, record in _records(text, delimiter):
            if len(record) != len(header):
                problems.add(f"line {line} has {len(record)} fields: expected {len(header)}, as in the first line")
        problems.check()
    lines: list[int] = []

    def place(row: int) -> str:
        if not lines:  # counted on demand: a record may take several lines
            lines.extend(line for line, _ in _records(text, delimiter))
        return f"line {lines[row + 1]}"

    unnamed = header.count("")
    notes = (f"{unnamed} column{'' if unnamed == 1 else 's'} without a name: left out",) if unnamed else ()
    named: dict[str, Sequence[str]] = {name: column for name, column in zip(header, columns or (), strict=True) if name}
    return Table(named, {}, notes, place)


def from_parquet(data: bytes, problems: Problems) -> Table:
    """Reads a Parquet file.

    Raises:
        DatasetError: it is no such file, lacks a column, or path, label or split is not of texts or whole numbers.
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        message = "Parquet files need the package pyarrow: pip install 'featurebank[parquet]'"
        raise MissingDependencyError(message) from error
    try:
        table = pq.read_table(pa.BufferReader(data))
        return _from_arrow(table, problems)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:120]
        problems.stop(f"is not a whole Parquet file ({detail}): write it anew")


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _columns(reader: Iterator[list[str]], width: int) -> list[list[str]] | None:
    """Returns the columns, or None where a record has not the right number of fields."""
    columns: list[list[str]] = [[] for _ in range(width)]
    # In blocks, whose records are gone before the garbage collector counts them: five times as fast for a million.
    while block := list(islice(reader, _BLOCK)):
        records = list(filter(None, block))  # without empty lines
        if set(map(len, records)) - {width}:
            return None
        for column, values in zip(columns, zip(*records, strict=True), strict=False):
            column.extend(values)
    return columns


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each record, the header too, with the number of the line that it begins in."""
    reader = _reader(text, delimiter)
    began = 1
    for record in reader:
        if record:
            yield began, record
        began = reader.line_num + 1


def _check_header(names: Sequence[str], problems: Problems) -> None:
    if not names:
        problems.stop(f"is empty: {_EXPECTED}")
    if len(names) == 1 and ";" in names[0]:
        problems.stop("has semicolons between its columns: save it with commas")
    for name in NEEDED:
        if name not in names:
            problems.add(f"has no column '{name}' ({_advice(name, names)}): {_EXPECTED}")
    for name in sorted({name for name in names if name and list(names).count(name) > 1}):
        problems.add(f"has the column '{name}' more than once")
    problems.check()


def _advice(name: str, names: Sequence[str]) -> str:
    others = {other.lower(): other for other in names if other not in KNOWN}
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
    return f"is '{others[near[0]]}' meant?" if near else f"found {', '.join(names)}"


def _from_arrow(table: Any, problems: Problems) -> Table:
    _check_header(table.column_names, problems)
    columns: dict[str, Sequence[str]] = {}
    arrays: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        found = _texts(column) if name in KNOWN else _values(column)
        if isinstance(found, np.ndarray):
            arrays[name] = found
        elif found is not None:
            columns[name] = found
        elif name in KNOWN:
            problems.add(f"the column '{name}' is of type {column.type}: expected texts")
        else:
            notes.append(f"column '{name}' is of type {column.type}, which is no metadata: left out")
    problems.check()
    return Table(columns, arrays, tuple(notes), lambda row: f"row {row + 1}")


def _texts(column: Any) -> Sequence[str] | None:
    """Returns the texts, or the whole numbers as texts, of an Arrow column; None where it holds something else."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    textual = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    return _as_texts(column) if any(check(kind) for check in textual) else None


def _values(column: Any) -> Sequence[str] | np.ndarray | None:
    """Returns an Arrow column as an array or as texts; None where it is neither."""
    import pyarrow as pa
    from pyarrow import types

    kind, whole = column.type, not column.null_count
    exact = types.is_integer(kind) and kind not in (pa.uint64(), pa.int64())  # in float64, which has nan
    if whole and types.is_integer(kind) and kind != pa.uint64():
        return np.asarray(column.to_numpy(), np.int64)
    if whole and types.is_boolean(kind):
        return np.asarray(column.to_numpy(), np.bool_)
    if exact or types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()).fill_null(float("nan")).to_numpy(), np.float64)
    if any(check(kind) for check in (types.is_boolean, types.is_temporal, types.is_decimal)):
        return _as_texts(column)
    return _texts(column)


def _as_texts(column: Any) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]
