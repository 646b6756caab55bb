"""How many pixels may be decoded at once, over all threads: large images wait for each other, small ones do not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from featurebank.system import runtime

BYTES_A_PIXEL = 8
"""That an image takes while it is decoded and brought to size: 4 in Pillow, 3 as an array, and what lies between."""

_SMALL = 1_000_000
"""Images below take no memory that matters, and are not counted."""


class PixelBudget:
    """A number of pixels that are decoded at once, by any number of threads, each image waiting for its turn.

    Args:
        limit: pixels; an image that is larger waits until it is alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._turn = threading.Lock()  # in the order in which they came: a large image is not overtaken for ever
        self._free = threading.Condition()
        self._used = 0
        self._local = threading.local()

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Counts what this thread decodes inside until the block ends, as what is made of it takes memory too."""
        outer, self._local.held = self._held(), 0
        try:
            yield
        finally:
            self._give_back(self._local.held)
            self._local.held = outer

    @contextlib.contextmanager
    def decoding(self, pixels: int) -> Iterator[None]:
        """Waits until an image may be decoded, and counts it until the end, or that of the surrounding `block`.

        A thread that holds some pixels already does not wait: it could be what the others wait for.
        """
        if pixels < _SMALL:
            yield
            return
        held = self._held()
        self._take(pixels, wait=not held)
        try:
            yield
        except BaseException:
            self._give_back(pixels)
            raise
        if held is None:
            self._give_back(pixels)
        else:
            self._local.held += pixels

    def _held(self) -> int | None:
        """Returns what this thread's block holds; None outside of one."""
        return getattr(self._local, "held", None)

    def _take(self, pixels: int, *, wait: bool) -> None:
        if not wait:
            with self._free:
                self._used += pixels
            return
        with self._turn, self._free:
            self._free.wait_for(lambda: not self._used or self._used + pixels <= self.limit)
            self._used += pixels

    def _give_back(self, pixels: int) -> None:
        if pixels:
            with self._free:
                self._used -= pixels
                self._free.notify_all()


_lock = threading.Lock()
_budgets: dict[int, PixelBudget] = {}


def pixel_budget(least: int) -> PixelBudget:
    """Returns the budget of this process: an eighth of `runtime.ram_limit`, and no less than one image of `least`."""
    limit = max(least, runtime.ram_limit() // 8 // BYTES_A_PIXEL)
    with _lock:
        return _budgets.setdefault(limit, PixelBudget(limit))
