"""Tables on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from featurebank.system.drawing.console import SafeConsole
from featurebank.system.drawing.text import printable
from featurebank.system.runtime import tidy_bytes

_WIDTH = 140
"""Width in columns of a table that is written to a file or a pipe."""


def console() -> SafeConsole:
    """Returns the console on which results are printed."""
    narrowed = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return SafeConsole(highlight=False, width=None if narrowed else _WIDTH, soft_wrap=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Prints a table; columns in `right` are numbers and right-aligned, those in `whole` are not wrapped."""
    empty = table(columns, right=right, whole=whole)
    for row in rows:
        empty.add_row(*(_text(cell) for cell in row))
    console().print(empty)


def table(columns: Sequence[str], *, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """Returns an empty table; columns in `right` are numbers and right-aligned, those in `whole` are not wrapped."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        number = name in right
        result.add_column(name, justify="right" if number else "left", no_wrap=number or name in whole, overflow="fold")
    return result


def fitting_columns(
    cells: Mapping[str, Sequence[str]], flexible: Sequence[str], first_to_go: Sequence[str]
) -> list[str]:
    """Returns the names of the columns that fit on the terminal.

    Args:
        cells: the cells of each column.
        flexible: the columns whose cells may be wrapped; one gets at least a quarter of the width, two a fifth each.
        first_to_go: the columns to omit if there is no room, in this order.
    """
    width = console().width
    widths = {name: 3 + max(map(len, (name, *column))) for name, column in cells.items()}
    for name in flexible:
        widths[name] = min(widths[name], width // (4 if len(flexible) == 1 else 5))
    for name in first_to_go:
        if sum(widths.values()) > width:
            widths.pop(name, None)
    return list(widths)


def size(count: float | None) -> str:
    """Returns a number of bytes for people."""
    return "?" if count is None else tidy_bytes(count)


def _text(cell: Any) -> Any:
    from rich.markup import escape

    return escape(printable(str(cell)))
