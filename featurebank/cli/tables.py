"""Tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH = 140
"""Of a table that goes into a file or a pipe."""


def console() -> Console:
    """Returns where results are printed."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH, soft_wrap=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Prints rows under their column names; the columns in `right` are numbers."""
    empty = table(columns, right=right)
    for row in rows:
        empty.add_row(*(_text(cell) for cell in row))
    console().print(empty)


def table(columns: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    """Returns a table without rows; the columns in `right` are numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        number = name in right
        made.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return made


def size(count: float | None) -> str:
    """Returns a number of bytes for people."""
    if count is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - decimal units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _text(cell: Any) -> Any:
    from rich.markup import escape

    return escape(cell) if isinstance(cell, str) else str(cell)
