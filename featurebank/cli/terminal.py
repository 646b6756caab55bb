r"""The one door through which text reaches the terminal: whatever a name holds, it is shown and obeyed by nobody.

Class and file names come from other people. A terminal obeys escape sequences, and characters without width or with a
direction of their own make one name look like another; so they are shown as Python writes them, as `\x1b`.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

import click

from featurebank.system.hints import with_global_options

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, formats (directions, no width), surrogates, separators of lines and paragraphs."""


def printable(text: str) -> str:
    r"""Returns a text in one line with each character escaped that a terminal would not show as itself.

    >>> printable("ant\x1b[2J\n")
    'ant\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(_escaped(sign) if unicodedata.category(sign) in _HIDDEN else sign for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def echo(line: str = "", *, err: bool = False) -> None:
    """Prints one line on standard output, or on standard error."""
    click.echo(printable(with_global_options(line)), err=err)


def echo_cells(cells: Iterable[str]) -> None:
    """Prints a line of cells for other programs, separated by tabs."""
    click.echo("\t".join(map(printable, cells)))


def echo_lines(text: str, *, err: bool = False) -> None:
    """Prints a text whose lines are its own, as a traceback or a usage."""
    for line in text.splitlines():
        echo(line, err=err)


def confirm(question: str) -> bool:
    """Asks a question; no is the default."""
    return click.confirm(printable(question))


def print_json(value: Any) -> None:
    """Prints one JSON document on standard output; what a terminal would obey is escaped as JSON does."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    text = "\n".join(map(_json_line, text.split("\n")))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, default=str)
    click.echo(text)


def _json_line(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(json.dumps(sign)[1:-1] if unicodedata.category(sign) in _HIDDEN else sign for sign in line)


def prepare_streams() -> None:
    """Lets a terminal or pipe whose encoding lacks a sign show it escaped, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
