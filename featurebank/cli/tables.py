"""Tables on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from featurebank.cli.console import SafeConsole
from featurebank.cli.terminal import printable
from featurebank.system.runtime import tidy_bytes

_WIDTH = 140
"""Of a table that goes into a file or a pipe."""


def console() -> SafeConsole:
    """Returns where results are printed."""
    narrowed = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return SafeConsole(highlight=False, width=None if narrowed else _WIDTH, soft_wrap=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Prints rows under their column names; those in `right` are numbers, those in `whole` are not broken."""
    empty = table(columns, right=right, whole=whole)
    for row in rows:
        empty.add_row(*(_text(cell) for cell in row))
    console().print(empty)


def table(columns: Sequence[str], *, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """Returns a table without rows; the columns in `right` are numbers, those in `whole` are not broken."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        number = name in right
        made.add_column(name, justify="right" if number else "left", no_wrap=number or name in whole, overflow="fold")
    return made


def that_fit(cells: Mapping[str, Sequence[str]], flexible: str, first_to_go: Sequence[str]) -> list[str]:
    """Returns the names of columns that fit beside each other on the terminal.

    Args:
        cells: the columns.
        flexible: the one whose cells may be broken; it takes a quarter of the width at least.
        first_to_go: what is left out where there is no room, in this order.
    """
    wide = console().width
    needed = {name: 3 + max(map(len, (name, *column))) for name, column in cells.items()}
    needed[flexible] = min(needed[flexible], wide // 4)
    for name in first_to_go:
        if sum(needed.values()) > wide:
            needed.pop(name, None)
    return list(needed)


def size(count: float | None) -> str:
    """Returns a number of bytes for people."""
    return "?" if count is None else tidy_bytes(count)


def _text(cell: Any) -> Any:
    from rich.markup import escape

    return escape(printable(str(cell)))
