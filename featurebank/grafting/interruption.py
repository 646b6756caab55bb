"""Interruptions that reach us although a library in between swallows them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Ends the block with KeyboardInterrupt where the process was interrupted within it, whatever came of that.

    Converters run Python inside C++, which turns the exception of an interruption into an error of its own, or drops
    it. Outside of the main thread, where no signal is handled, the block is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        handler = before[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    taken = [number for number in _SIGNALS if callable(before[number])]
    for number in taken:
        signal.signal(number, note)
    try:
        yield
    except Exception as error:
        if seen:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number in taken:
            signal.signal(number, before[number])
    if seen:
        raise KeyboardInterrupt
