"""Interruptions of a process that goes on, such as the kernel of a notebook."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_AGAIN_S = 0.05


@contextlib.contextmanager
def whole_imports(until: FrameType | None) -> Iterator[None]:
    """Lets the import of a library end before Ctrl-C interrupts the block.

    TensorFlow, OpenVINO and SciPy cannot be imported in a process in which their import was interrupted: the user would
    have to restart the kernel. Other threads than the main thread handle no signals; there this does nothing.

    Args:
        until: the frame of the block; imports further out are not the block's.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    interrupt = before

    def wait_for_import(number: int, frame: FrameType | None) -> None:
        if not _imports(frame, until):
            interrupt(number, frame)
            return
        again = threading.Timer(_AGAIN_S, _thread.interrupt_main)
        again.daemon = True
        again.start()

    signal.signal(signal.SIGINT, wait_for_import)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is wait_for_import:
            signal.signal(signal.SIGINT, before)


def _imports(frame: FrameType | None, until: FrameType | None) -> bool:
    """Returns whether an import is running between two frames, the second of which is the outer one."""
    while frame is not None and frame is not until:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
