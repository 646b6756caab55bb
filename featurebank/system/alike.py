"""Which of many similar lines are shown: the first few, and at the end how many others there were."""

from __future__ import annotations

from collections import Counter

from featurebank.system.progress import MOST_ALIKE, kind_of


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
