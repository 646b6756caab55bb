"""The files that a manifest may be: CSV by the standard library, Parquet by Arrow; columns out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.dataset.readers.column_names import KNOWN, choose_columns
from featurebank.dataset.readers.text_encoding import decode_text
from featurebank.dataset.sources.rows import Problems
from featurebank.errors import MissingDependencyError
from featurebank.system.runtime import ram_limit
from featurebank.words import counted

_BLOCK = 1 << 13
_ARROW_ROWS = 1 << 16
_MOST_SHRUNK = 100
_TEXT_BYTES = 64
"""What a text takes in memory at least."""


@dataclass(frozen=True)
class Table:
    """A manifest as it was read, checked for nothing but its form.

    Args:
        columns: the texts of each column that holds texts, by name; "path", "label" and "split" whatever the file
            calls them.
        arrays: the columns that the file holds as numbers or booleans, by name.
        notes: what was left out.
        place: says where a row stands, as "line 7".
    """

    columns: dict[str, Sequence[str]]
    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...]
    place: Callable[[int], str]


def from_csv(data: bytes, delimiter: str, problems: Problems, asked: Mapping[str, str]) -> Table:
    """Reads a CSV file: UTF-8 or UTF-16, names in the first line, quotes as `csv` has them.

    Args:
        data: the file.
        delimiter: what stands between columns, unless the first line has it nowhere and another usual one instead.
        problems: of the table.
        asked: the user's names for the columns "path", "label" and "split".

    Raises:
        DatasetError: it is not such a file, or lacks a column.
    """
    try:
        text = decode_text(data)
    except ValueError as error:
        problems.stop(str(error))
    delimiter = _delimiter(text, delimiter)
    reader = _reader(text, delimiter)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        roles, renamed = choose_columns(header, asked, problems)
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
        if not lines:  # counted on demand: a record may take several lines
            lines.extend(line for line, _ in _records(text, delimiter))
        return f"line {lines[row + 1]}"

    unnamed = header.count("")
    notes = [f"{unnamed} column{'' if unnamed == 1 else 's'} without a name: left out"] if unnamed else []
    named: dict[str, Sequence[str]] = {name: column for name, column in zip(header, columns or (), strict=True) if name}
    return Table(_renamed(named, roles, notes), {}, (*renamed, *notes), place)


def from_parquet(data: bytes, problems: Problems, asked: Mapping[str, str]) -> Table:
    """Reads a Parquet file, block by block: what it unpacks to has to fit into `--ram`.

    Args:
        data: the file.
        problems: of the table.
        asked: the user's names for the columns "path", "label" and "split".

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
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            _check_declared(file.metadata, problems)
            texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        # Texts stay as the file has them, each different one once: a long one in every row takes no more than one.
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts) as file:
            return _from_arrow(_whole(file, problems), problems, asked)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:120]
        problems.stop(f"is not a whole Parquet file ({detail}): write it anew")


def refuse_bombs(paths: Iterable[Path]) -> None:
    """Refuses Parquet files for other readers: those that say that they unpack to far more than they are.

    Images hardly shrink in a file, so a hundredfold is no set of images. What fits into `--ram` does no harm.

    Raises:
        DatasetError: there is such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            found = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            continue  # whoever reads it says what it is
        if _declared(found) > max(ram_limit(), _MOST_SHRUNK * path.stat().st_size):
            Problems(f"'{path}'").stop(_too_large(_declared(found)))


def _whole(file: Any, problems: Problems) -> Any:
    """Returns the table of a Parquet file; stops as soon as it is larger than memory may be used."""
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


def _delimiter(text: str, expected: str) -> str:
    """Returns what stands between the columns of a file."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return next((found for found in (expected, ",", ";", "\t", "|") if found in first), expected)


def _renamed(columns: dict[str, Any], roles: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    """Returns columns under their own names, but those with a role under that; notes which had to go for it."""
    found = {role: columns[name] for role, name in roles.items()}
    for name, column in columns.items():
        if name in roles.values():
            continue
        if name in KNOWN:
            notes.append(f"column '{name}' is left out: '{roles.get(name)}' was asked for in its place")
        else:
            found[name] = column
    return found


def _check_declared(found: Any, problems: Problems) -> None:
    """Refuses a Parquet file that says that it unpacks to more than memory may be used."""
    size = max(_declared(found), found.num_rows * found.num_columns * _TEXT_BYTES)
    if size > ram_limit():
        problems.stop(_too_large(size))


def _declared(found: Any) -> int:
    """Returns how many bytes the blocks of a Parquet file unpack to, by its own account."""
    return sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups))


def _too_large(size: int) -> str:
    return (
        f"unpacks to {size / 1e6:.0f} MB or more, the limit is {ram_limit() / 1e6:.0f} MB: give a larger --ram if the "
        "file is what it should be"
    )


def _from_arrow(table: Any, problems: Problems, asked: Mapping[str, str]) -> Table:
    roles, renamed = choose_columns(table.column_names, asked, problems)
    notes: list[str] = []
    named = _renamed(dict(zip(table.column_names, table.columns, strict=True)), roles, notes)
    columns: dict[str, Sequence[str]] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, column in named.items():
        found = _texts(column) if name in KNOWN else _values(column)
        if isinstance(found, np.ndarray):
            arrays[name] = found
        elif found is not None:
            columns[name] = found
        elif name in KNOWN:
            problems.add(f"the column '{roles[name]}' is of type {column.type}: expected texts")
        else:
            notes.append(f"column '{name}' is of type {column.type}, which is no metadata: left out")
    problems.check()
    return Table(columns, arrays, (*renamed, *notes), lambda row: f"row {row + 1}")


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
    """Returns the texts of an Arrow column; equal ones are one object, so that a small file cannot fill the memory."""
    known: dict[Any, str] = {None: ""}
    texts: list[str] = []
    for chunk in column.chunks:
        found = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        values = ["" if value is None else str(value) for value in found.dictionary.to_pylist()]
        values = [known.setdefault(value, value) for value in values]
        texts += ["" if index is None else values[index] for index in found.indices.to_pylist()]
    return texts
