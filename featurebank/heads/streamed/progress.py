"""Shows how far a pass over stored features is, with its rate and the time that is left."""

from __future__ import annotations

import time

from featurebank.system.progress import detail
from featurebank.words import duration

_SHOWN_EVERY_S = 0.25


class PassProgress:
    """The progress of one pass over the rows.

    Args:
        what: the pass, as "summing up".
        total: the number of rows.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = self._last = time.monotonic()
        self._visible = False

    def advance(self, rows: int) -> None:
        """Counts rows, and shows the new state unless the last one was shown just before."""
        self._done = min(self._done + rows, self._total)
        now = time.monotonic()
        if now - self._last >= _SHOWN_EVERY_S:
            self._last, self._visible = now, True
            rate = self._done / (now - self._began)
            left = duration((self._total - self._done) / rate)
            detail(f"{self._what}: row {self._done:,} of {self._total:,}, {rate:,.0f} rows/s, {left} left")

    def end(self) -> None:
        """Removes what was shown."""
        if self._visible:
            detail("")
