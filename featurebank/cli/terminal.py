"""All text for the terminal passes through these functions, which escape control characters."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from featurebank.system.drawing.text import HIDDEN, printable
from featurebank.system.hints import with_global_options


def shown_path(path: Path) -> str:
    """Returns the text by which people name a path in a cache; see `storage.caches.shown_path`."""
    from featurebank.storage import caches

    return caches.shown_path(path)


def from_here(file: str) -> str:
    """Returns the path of a file relative to the current folder, if the file is below it; otherwise as it is."""
    return str(Path(file).relative_to(Path.cwd())) if Path(file).is_relative_to(Path.cwd()) else file


def echo(line: str = "", *, err: bool = False) -> None:
    """Prints one line on standard output, or on standard error."""
    click.echo(printable(with_global_options(line)), err=err)


def echo_cells(cells: Iterable[str]) -> None:
    """Prints one line of tab-separated cells, for other programs."""
    click.echo("\t".join(map(printable, cells)))


def echo_lines(text: str, *, err: bool = False) -> None:
    """Prints a text of several lines, such as a traceback or a usage message."""
    for line in text.splitlines():
        echo(line, err=err)


def confirm(question: str) -> bool:
    """Asks a yes/no question; the default is no."""
    return click.confirm(printable(question))


def print_json(value: Any) -> None:
    """Prints one JSON document on standard output; control characters are escaped as in JSON."""
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
    return "".join(json.dumps(sign)[1:-1] if unicodedata.category(sign) in HIDDEN else sign for sign in line)


def prepare_streams() -> None:
    """Makes standard output and error escape characters that their encoding lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
