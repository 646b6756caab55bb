"""What a stage tells while it works. The default says nothing; the command line draws it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

Advance = Callable[[int], None]
"""Tells that so many more pieces are done."""

MOST_ALIKE = 3
"""How many lines of one kind are shown before the others are only counted."""

_VARYING = re.compile(r"'.*?'(?![^\W_])|\d+(?:\.\d+)?")
"""What lines of one kind differ in: names in quotes, and numbers."""


class Place(NamedTuple):
    """One line of what is best so far."""

    head: str
    accuracy: float
    """On validation."""
    seconds: float
    """Of training."""


class Reporter:
    """Where a stage sends its progress and its words to the user; this one is silent."""

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """Shows how far a piece of work is while the block runs.

        Args:
            what: the work, as "extract".
            total: how many pieces it has.
            unit: what a piece is called in the plural, as "images".
        """
        yield lambda count: None

    def standing(self, places: Sequence[Place]) -> None:
        """Shows what is best so far, best first; may be called after every piece of work."""

    def say(self, line: str) -> None:
        """Tells one line that helps to understand what is done."""

    def warn(self, line: str) -> None:
        """Tells one line that the user should act on."""


SILENT = Reporter()


def kind_of(line: str) -> str:
    """Returns what a line has in common with others of its kind: the line without its names and numbers."""
    return _VARYING.sub("*", line)


def shorten(lines: Iterable[str], most: int = MOST_ALIKE) -> list[str]:
    """Shortens a list of lines for people: the first few of each kind, and the number of the others.

    Args:
        lines: the lines; those that differ only in names in quotes and in numbers are of one kind.
        most: how many lines of a kind stay.

    Returns:
        The lines that stay, with lines of one kind together, in the order in which the kinds appear first.

    Example:
        >>> shorten([f"class '{name}' has one image only" for name in "abcdef"], most=2)
        ["class 'a' has one image only", "class 'b' has one image only", '... and 4 more like this']
    """
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(kind_of(line), []).append(line)
    shown = []
    for alike in kinds.values():
        shown += alike[:most]
        if len(alike) > most:
            shown.append(f"... and {len(alike) - most} more like this")
    return shown


def enumerate_some(names: Sequence[str], most: int = MOST_ALIKE) -> str:
    """Writes a list of names into one line: the first few in quotes, and the number of the others.

    Example:
        >>> enumerate_some(["ant", "bee", "cow", "dog", "eel"])
        "'ant', 'bee', 'cow' and 2 more"
    """
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
