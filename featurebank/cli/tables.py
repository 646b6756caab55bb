"""Tables on standard output."""

from __future__ import annotations

import os
import re
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
_BETWEEN = 3
"""The columns between two cells."""
_FLEXIBLE = 4
"""A flexible column gets at least this part of the width."""
_LEAST = 8
"""The smallest width of a flexible column."""


def console() -> SafeConsole:
    """Returns the console on which results are printed."""
    narrowed = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return SafeConsole(highlight=False, width=None if narrowed else _WIDTH, soft_wrap=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Prints a table; columns in `right` are numbers and right-aligned, those in `whole` are not wrapped.

    A cell has several lines if it is a text with line breaks.
    """
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


def fitting_columns(cells: Mapping[str, Sequence[str]], flexible: str, first_to_go: Sequence[str]) -> list[str]:
    """Returns the names of the columns that fit on the terminal.

    Args:
        cells: the cells of each column.
        flexible: the column whose cells may be broken into lines; it gets at least a quarter of the width.
        first_to_go: the columns to omit if there is no room, in this order.
    """
    width = console().width
    widths = {name: _BETWEEN + max(map(len, (name, *column))) for name, column in cells.items()}
    widths[flexible] = min(widths[flexible], width // _FLEXIBLE)
    for name in first_to_go:
        if sum(widths.values()) > width:
            widths.pop(name, None)
    return list(widths)


def fitting_cells(
    cells: Mapping[str, Sequence[str]], flexible: str, below: str, first_to_go: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Returns the columns that fit on the terminal, without a word that is cut.

    Args:
        cells: the cells of each column.
        flexible: the column whose cells are broken into lines, between words; it gets at least a quarter of the width.
        below: a column that may be missing. Its cells stand below those of `flexible` if there is no room beside them.
        first_to_go: the columns to omit if there is no room, in this order.
    """
    chosen = {name: cells[name] for name in fitting_columns(cells, flexible, first_to_go)}
    if below not in chosen or _room(chosen, flexible) >= console().width // _FLEXIBLE - _BETWEEN:
        return {**chosen, flexible: [folded(text, _room(chosen, flexible)) for text in chosen[flexible]]}
    both = f"{flexible}, {below}"
    merged = {both if name == flexible else name: column for name, column in cells.items() if name != below}
    chosen = {name: merged[name] for name in fitting_columns(merged, both, first_to_go)}
    width = _room(chosen, both)
    pairs = zip(cells[flexible], cells[below], strict=True)
    return {**chosen, both: [f"{folded(upper, width)}\n{folded(f'  {lower}', width)}" for upper, lower in pairs]}


def _room(cells: Mapping[str, Sequence[str]], name: str) -> int:
    """Returns the width in characters that the other columns leave for a column, at least `_LEAST`."""
    others = (_BETWEEN + max(map(len, (other, *column))) for other, column in cells.items() if other != name)
    return max(_LEAST, console().width - _BETWEEN - sum(others))


def folded(text: str, width: int) -> str:
    """Returns a text in lines of at most so many characters, broken at blanks.

    A word that is too long is broken after a bracket, "_", ":", "+", "=" or a comma, and only if it has none, anywhere.

    Example:
        >>> folded("block6a_expand_activation:avg", 16).split()
        ['block6a_expand_', 'activation:avg']
    """
    lines = [""]
    for word in re.findall(r"\s*\S+", text):
        pieces = [word] if len(word.strip()) <= width else re.findall(r"\s*[^(\[,=:+_]*[(\[,=:+_]*", word)
        for piece in pieces:
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
                piece = piece.lstrip()  # noqa: PLW2901
            lines[-1] += piece
            while len(lines[-1]) > width:
                lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return "\n".join(lines)


def size(count: float | None) -> str:
    """Returns a number of bytes for people."""
    return "?" if count is None else tidy_bytes(count)


def _text(cell: Any) -> Any:
    from rich.markup import escape

    return escape("\n".join(map(printable, str(cell).split("\n"))))
