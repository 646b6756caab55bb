"""Reads the table files of manifests: CSV with the standard library, Parquet with Arrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.dataset.readers.column_names import KNOWN, TEXTS, choose_columns
from featurebank.dataset.readers.text_encoding import decode_text
from featurebank.dataset.sources.rows import Problems
from featurebank.errors import MissingDependencyError
from featurebank.system.runtime import ram_limit
from featurebank.words import counted

_BLOCK = 1 << 13
_ARROW_ROWS = 1 << 16
_MOST_SHRUNK = 100
_TEXT_BYTES = 64
"""Least memory of a text."""


@dataclass(frozen=True)
class Table:
    """A manifest as it was read; only its form has been checked.

    Args:
        columns: the texts of each text column, by name; "path", "label", "split" and "weight" whatever their names in
            the file.
        arrays: the numeric and boolean columns, by name.
        notes: notes about omitted columns.
        place: returns the location of a row, as "line 7".
        roles: the names in the file of the columns "path", "label", "split" and "weight".
    """

    columns: dict[str, Sequence[str]]
    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...]
    place: Callable[[int], str]
    roles: Mapping[str, str] = field(default_factory=dict)


def from_csv(data: bytes, delimiter: str, problems: Problems, renames: Mapping[str, str]) -> Table:
    """Reads a CSV file in UTF-8 or UTF-16, with names in the first line and the quotes of `csv`.

    Args:
        data: the file.
        delimiter: the separator of columns, unless only another usual one occurs in the first line.
        problems: collects the problems of the table.
        renames: the user's names for the columns of `KNOWN`.

    Raises:
        DatasetError: it is not such a file, or a column is missing.
    """
    try:
        text = decode_text(data)
    except ValueError as error:
        problems.stop(str(error))
    delimiter = _delimiter(text, delimiter)
    reader = _reader(text, delimiter)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        roles, renamed = choose_columns(header, renames, problems)
        columns = _columns(reader, len(header))
    except csv.Error as error:
        problems.stop(f"line {reader.line_num} is not valid CSV: {error}")
    if columns is None:
        for line, record in _records(text, delimiter):
            if len(record) != len(header):
                problems.add(
                    f"line {line} has {counted(len(record), 'field')}: expected {len(header)}, as in the first line"
                )
        problems.check()
    lines: list[int] = []

    def place(row: int) -> str:
        if not lines:  # computed on demand: a record may span several lines
            lines.extend(line for line, _ in _records(text, delimiter))
        return f"line {lines[row + 1]}"

    unnamed = header.count("")
    notes = [f"{unnamed} column{'' if unnamed == 1 else 's'} without a name: omitted"] if unnamed else []
    named: dict[str, Sequence[str]] = {name: column for name, column in zip(header, columns or (), strict=True) if name}
    return Table(_renamed(named, roles, notes), {}, (*renamed, *notes), place, roles)


def from_parquet(data: bytes, problems: Problems, renames: Mapping[str, str]) -> Table:
    """Reads a Parquet file block by block; its unpacked size is limited by `--ram`.

    Args:
        data: the file.
        problems: collects the problems of the table.
        renames: the user's names for the columns of `KNOWN`.

    Raises:
        DatasetError: it is not such a file, a column is missing, or path, label or split has neither texts nor whole
            numbers.
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        message = "Parquet files need the package pyarrow: pip install 'featurebank[parquet]'"
        raise MissingDependencyError(message) from error
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            _check_declared(file.metadata, problems)
            texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        # Texts stay dictionary-encoded, each distinct one once: a long one in every row takes no more memory than one.
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts) as file:
            return _from_arrow(_whole(file, problems), problems, renames)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:120]
        problems.stop(f"is not a whole Parquet file ({detail}): write it again")


def refuse_bombs(paths: Iterable[Path]) -> None:
    """Refuses Parquet files for other readers if they declare a far larger unpacked size than their own.

    Images hardly compress, so a hundredfold size cannot be images. Files that fit into `--ram` are harmless.

    Raises:
        DatasetError: there is such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            metadata = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            continue  # its reader will report it
        if _declared(metadata) > max(ram_limit(), _MOST_SHRUNK * path.stat().st_size):
            Problems(f"'{path}'").stop(_too_large(_declared(metadata)))


def _whole(file: Any, problems: Problems) -> Any:
    """Returns the table of a Parquet file; stops as soon as it exceeds the memory limit."""
    import pyarrow as pa

    blocks, size = [], 0
    for block in file.iter_batches(_ARROW_ROWS):
        size += block.nbytes
        if size > ram_limit():
            problems.stop(_too_large(size))
        blocks.append(block)
    return pa.Table.from_batches(blocks, blocks[0].schema if blocks else file.schema_arrow)


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _columns(reader: Iterator[list[str]], width: int) -> list[list[str]] | None:
    """Returns the columns, or None if a record has the wrong number of fields."""
    columns: list[list[str]] = [[] for _ in range(width)]
    # In blocks whose records are freed before the garbage collector counts them: five times as fast for a million.
    while block := list(islice(reader, _BLOCK)):
        records = list(filter(None, block))  # without empty lines
        if set(map(len, records)) - {width}:
            return None
        for column, values in zip(columns, zip(*records, strict=True), strict=False):
            column.extend(values)
    return columns


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each record, including the header, with the number of its first line."""
    reader = _reader(text, delimiter)
    began = 1
    for record in reader:
        if record:
            yield began, record
        began = reader.line_num + 1


def _delimiter(text: str, expected: str) -> str:
    """Returns the separator of a file's columns."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return next((separator for separator in (expected, ",", ";", "\t", "|") if separator in first), expected)


def _renamed(columns: dict[str, Any], roles: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    """Renames the columns that have a role; adds a note about columns whose names these replace."""
    renamed = {role: columns[name] for role, name in roles.items()}
    for name, column in columns.items():
        if name in roles.values():
            continue
        if name in KNOWN:
            notes.append(f"column '{name}' is omitted: '{roles.get(name)}' is used in its place")
        else:
            renamed[name] = column
    return renamed


def _check_declared(metadata: Any, problems: Problems) -> None:
    """Refuses a Parquet file that declares a larger unpacked size than the memory limit."""
    size = max(_declared(metadata), metadata.num_rows * metadata.num_columns * _TEXT_BYTES)
    if size > ram_limit():
        problems.stop(_too_large(size))


def _declared(metadata: Any) -> int:
    """Returns the unpacked size in bytes that a Parquet file declares for its blocks."""
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def _too_large(size: int) -> str:
    return (
        f"unpacks to {size / 1e6:.0f} MB or more, the limit is {ram_limit() / 1e6:.0f} MB: use a larger --ram if the "
        "file is as intended"
    )


def _from_arrow(table: Any, problems: Problems, renames: Mapping[str, str]) -> Table:
    roles, renamed = choose_columns(table.column_names, renames, problems)
    notes: list[str] = []
    named = _renamed(dict(zip(table.column_names, table.columns, strict=True)), roles, notes)
    columns: dict[str, Sequence[str]] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, column in named.items():
        values = _texts(column) if name in TEXTS else _values(column)
        if isinstance(values, np.ndarray):
            arrays[name] = values
        elif values is not None:
            columns[name] = values
        elif name in KNOWN:
            expected = "texts" if name in TEXTS else "numbers"
            problems.add(f"the column '{roles[name]}' is of type {column.type}: expected {expected}")
        else:
            notes.append(f"column '{name}' is of type {column.type}, which cannot be metadata: omitted")
    problems.check()
    return Table(columns, arrays, (*renamed, *notes), lambda row: f"row {row + 1}", roles)


def _texts(column: Any) -> Sequence[str] | None:
    """Returns the texts, or the whole numbers as texts, of an Arrow column; None for other types."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    textual = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    return _as_texts(column) if any(check(kind) for check in textual) else None


def _values(column: Any) -> Sequence[str] | np.ndarray | None:
    """Returns an Arrow column as an array or as texts; None if it is neither."""
    import pyarrow as pa
    from pyarrow import types

    kind, whole = column.type, not column.null_count
    exact = types.is_integer(kind) and kind not in (pa.uint64(), pa.int64())  # exact in float64, which has nan
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
    """Returns the texts of an Arrow column; equal ones are one object, so that a small file cannot fill the memory."""
    known: dict[Any, str] = {None: ""}
    texts: list[str] = []
    for chunk in column.chunks:
        encoded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        values = ["" if value is None else str(value) for value in encoded.dictionary.to_pylist()]
        values = [known.setdefault(value, value) for value in values]
        texts += ["" if index is None else values[index] for index in encoded.indices.to_pylist()]
    return texts
