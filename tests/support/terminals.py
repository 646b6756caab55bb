"""A terminal, and what a process draws on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

import pytest


class Drawn(NamedTuple):
    """The end of a process whose standard error was a terminal."""

    printed: bytes
    returncode: int
    drawn: str
    """All that it wrote on the terminal, with its control sequences."""


def run_on_terminal(code: str, environment: Mapping[str, str]) -> Drawn:
    """Runs Python code in a process of its own, whose standard error is a terminal of 80 columns."""
    pty = pytest.importorskip("pty")
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=terminal, stdout=subprocess.PIPE,
        env={**environment, "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(terminal)
    pieces = []
    with contextlib.suppress(OSError):  # how Linux tells that the terminal has no user any more
        while piece := os.read(control, 65536):
            pieces.append(piece)
    os.close(control)
    printed = process.communicate()[0]
    return Drawn(printed, process.returncode, b"".join(pieces).decode())
