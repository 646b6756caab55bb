"""Many similar lines: the first few of each kind are shown, and the others counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

MOST_ALIKE = 3
"""Number of lines of one kind that are shown; the others are only counted."""

_VARYING = re.compile(r"'.*?'(?![^\W_])|\d+(?:\.\d+)?")
"""The parts in which lines of one kind differ: names in quotes, and numbers."""


class AlikeLines:
    """Counts lines of one kind, which differ only in quoted names and numbers.

    Example:
        >>> lines = AlikeLines()
        >>> [number for number in range(9) if lines.is_shown(f"image {number} is broken")]
        [0, 1, 2]
        >>> lines.rest()
        ['6 more like this: image 2 is broken']
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._last_of: dict[str, str] = {}

    def is_shown(self, line: str) -> bool:
        """Counts a line, and returns whether it is among the first few of its kind."""
        kind = kind_of(line)
        self._counts[kind] += 1
        if self._counts[kind] > MOST_ALIKE:
            return False
        self._last_of[kind] = line
        return True

    def rest(self) -> list[str]:
        """Returns a line for each kind of which some were not shown, and begins to count anew."""
        lines = [
            f"{count - MOST_ALIKE} more like this: {self._last_of[kind]}"
            for kind, count in self._counts.items()
            if count > MOST_ALIKE
        ]
        self._counts.clear()
        return lines


def kind_of(line: str) -> str:
    """Returns the part that a line shares with others of its kind: the line without its names and numbers."""
    return _VARYING.sub("*", line)


def shorten(lines: Iterable[str], most: int = MOST_ALIKE) -> list[str]:
    """Shortens a list of lines: keeps the first few of each kind, and counts the others.

    Args:
        lines: the lines; lines that differ only in quoted names and in numbers are of one kind.
        most: number of lines of a kind to keep.

    Returns:
        The remaining lines, grouped by kind, in the order in which the kinds first appear.

    Example:
        >>> shorten([f"class '{name}' has only one image" for name in "abcdef"], most=2)
        ["class 'a' has only one image", "class 'b' has only one image", '... and 4 more like this']
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
    """Joins names into one line: the first few in quotes, and the number of the others.

    Example:
        >>> enumerate_some(["ant", "bee", "cow", "dog", "eel"])
        "'ant', 'bee', 'cow' and 2 more"
    """
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
