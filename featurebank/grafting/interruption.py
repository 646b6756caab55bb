"""Keeps interruptions from getting lost in a library that swallows them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def propagate_interruptions() -> Iterator[None]:
    """Raises KeyboardInterrupt at the end of the block if a signal interrupted the process within the block.

    Converters run Python inside C++, which turns the KeyboardInterrupt into another error, or drops it. Other threads
    than the main thread handle no signals; there this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = before[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    numbers = [number for number in _SIGNALS if callable(before[number])]
    for number in numbers:
        signal.signal(number, note)
    try:
        yield
    except Exception as error:
        if received:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number in numbers:
            signal.signal(number, before[number])
    if received:
        raise KeyboardInterrupt
