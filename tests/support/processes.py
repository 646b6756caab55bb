"""Processes that a test starts."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Ends a process when the block is left, however that is, and closes its pipes.

    A process that a failed test has left is found in whichever test runs when its memory is freed, and fails that
    one as well.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_gone(pids: Iterable[int]) -> None:
    """Waits for processes that have to end by themselves; fails if one of them does not within twenty seconds."""
    left = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []
