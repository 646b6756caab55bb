"""Limits how many pixels are decoded at once, over all threads: large images wait for each other, small ones do not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from featurebank.system import runtime

BYTES_A_PIXEL = 8
"""Memory per pixel while an image is decoded and resized: 4 in Pillow, 3 as an array, and intermediate results."""

_SMALL = 1_000_000
"""Smaller images need little memory, and are not counted."""


class PixelBudget:
    """A limit on the pixels that are decoded at once, by any number of threads; images wait for their turn.

    Args:
        limit: number of pixels; a larger image waits until it is alone.

    Example:
        >>> budget = PixelBudget(limit=50_000_000)
        >>> with budget.decoding(12_000_000):
        ...     pass  # decode a photo of 12 megapixels
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._turn = threading.Lock()  # first come, first served: a large image is not overtaken for ever
        self._free = threading.Condition()
        self._used = 0
        self._local = threading.local()

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Keeps counting this thread's images until the block ends, because their copies need memory, too."""
        outer, self._local.pixels = self._block_pixels(), 0
        try:
            yield
        finally:
            self._give_back(self._local.pixels)
            self._local.pixels = outer

    @contextlib.contextmanager
    def decoding(self, pixels: int) -> Iterator[None]:
        """Waits until an image may be decoded, and counts it until the end, or until the end of the enclosing `block`.

        A thread that already holds pixels does not wait, because the others might be waiting for it.
        """
        if pixels < _SMALL:
            yield
            return
        pixels_of_block = self._block_pixels()
        self._acquire(pixels, wait=not pixels_of_block)
        try:
            yield
        except BaseException:
            self._give_back(pixels)
            raise
        if pixels_of_block is None:
            self._give_back(pixels)
        else:
            self._local.pixels += pixels

    def _block_pixels(self) -> int | None:
        """Returns the pixels that this thread's block holds; None outside a block."""
        return getattr(self._local, "pixels", None)

    def _acquire(self, pixels: int, *, wait: bool) -> None:
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
    """Returns the budget of this process: an eighth of `runtime.ram_limit`, at least one image of `least` pixels."""
    limit = max(least, runtime.ram_limit() // 8 // BYTES_A_PIXEL)
    with _lock:
        return _budgets.setdefault(limit, PixelBudget(limit))
