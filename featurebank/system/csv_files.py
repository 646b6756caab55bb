"""CSV files for people who open them in spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from featurebank.system.files import write_bytes

_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file atomically, in UTF-8.

    Names of files and classes come from strangers, and a spreadsheet evaluates a cell that begins like a formula. Such
    a text gets a leading apostrophe, as in spreadsheets themselves; numbers stay as they are.

    Args:
        path: where to write; an existing file is replaced.
        columns: the column names.
        rows: one cell per column. None becomes an empty cell; lists and dicts are written as JSON.

    Raises:
        DiskFullError: no space is left on the disk.

    Example:
        >>> write_csv(Path("runs.csv"), ["head", "accuracy"], [["softmax", 0.9]])
        >>> Path("runs.csv").read_text().splitlines()
        ['head,accuracy', 'softmax,0.9']
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(map(csv_cell, columns))
    writer.writerows(map(csv_cell, row) for row in rows)
    write_bytes(path, buffer.getvalue().encode())


def csv_cell(value: Any) -> Any:
    """Returns a value as a cell that no spreadsheet evaluates as a formula.

    Example:
        >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell([1, 2])
        ("'=1+1", '-0.5', -0.5, '[1, 2]')
    """
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, sort_keys=isinstance(value, dict))
    if isinstance(value, str) and value.startswith(_BEGINS_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii()
