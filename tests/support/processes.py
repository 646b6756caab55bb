"""Processes that a test starts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


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
