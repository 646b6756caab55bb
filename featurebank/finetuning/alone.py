"""One process a fine-tune: a second one is told who does it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.bank.claims import Claims
from featurebank.bank.unfinished import HOLDER
from featurebank.errors import RunLockedError
from featurebank.files import write_json
from featurebank.progress import Reporter

_NOTE_WITHIN_S = 1.0
"""Who has just claimed a fine-tune writes its note within this time."""


@contextlib.contextmanager
def alone(directory: Path, run: str, reporter: Reporter) -> Iterator[None]:
    """Holds a fine-tune for this process and thread; a process that dies holds nothing.

    Args:
        directory: of the bank's runs.
        run: the id of the fine-tune.
        reporter: is warned where the disk has no locks.

    Raises:
        RunLockedError: another process or thread does it.
        DiskFullError: no space is left for a note.
    """
    note = directory / f"{run}{HOLDER}"
    with Claims(directory, reporter.warn) as claims:
        if not claims.take(run):
            raise _held(run, _holder(note))
        try:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            write_json(note, {"host": socket.gethostname(), "process": os.getpid(), "since": now})
            yield
        finally:
            note.unlink(missing_ok=True)


def _holder(note: Path) -> dict[str, Any] | None:
    deadline = time.monotonic() + _NOTE_WITHIN_S
    while time.monotonic() < deadline:
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
            return {name: told[name] for name in ("host", "process", "since")}
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(_NOTE_WITHIN_S / 50)
    return None


def _held(run: str, holder: dict[str, Any] | None) -> RunLockedError:
    who = "another process does"
    if holder:
        who = f"process {holder['process']} on {holder['host']} has been doing"
    since = f" since {holder['since']}" if holder else ""
    message = f"{who} this fine-tune (run {run}){since}: wait for it to end, or stop it and run the same command again"
    return RunLockedError(message)
