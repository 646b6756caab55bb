"""What a stage tells while it works. The default says nothing; the command line draws it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

Advance = Callable[[int], None]
"""Tells that so many more pieces are done."""


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
