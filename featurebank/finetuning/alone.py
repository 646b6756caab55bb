"""One process a fine-tune: a second one is told who does it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from featurebank.bank.locks.claims import Claims
from featurebank.bank.locks.note import Heartbeat, Holder, NoteTakenError, read_note, watch
from featurebank.bank.maintenance.unfinished import HOLDER
from featurebank.errors import RunLockedError
from featurebank.system.progress import Reporter

_NOTE_WITHIN_S = 1.0
"""Who has just claimed a fine-tune writes its note within this time."""


@contextlib.contextmanager
def alone(directory: Path, run: str, reporter: Reporter) -> Iterator[None]:
    """Holds a fine-tune for this process and thread; a process that dies holds nothing.

    Where the disk has no locks, or none that reach other hosts, the holder's note does what a lock does elsewhere.

    Args:
        directory: of the bank's runs.
        run: the id of the fine-tune.
        reporter: hears whose note is watched.

    Raises:
        RunLockedError: another process or thread does it.
        DiskFullError: no space is left for a note.
    """
    note = directory / f"{run}{HOLDER}"
    with Claims(directory) as claims:
        if not claims.take(run):
            raise _held(run, _holder(note))
        holder = read_note(note)
        dead = holder is None or (holder.is_here and claims.locks)
        if holder and not dead and watch(note, holder, reporter.say):
            raise _held(run, read_note(note) or holder)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            with Heartbeat(note, since=now, settle=not claims.locks):
                yield
        except NoteTakenError as error:
            raise _held(run, error.holder) from error


def _holder(note: Path) -> Holder | None:
    deadline = time.monotonic() + _NOTE_WITHIN_S
    while not (holder := read_note(note)) and time.monotonic() < deadline:
        time.sleep(_NOTE_WITHIN_S / 50)
    return holder


def _held(run: str, holder: Holder | None) -> RunLockedError:
    who = f"{holder.name} has been doing" if holder else "another process does"
    since = f" since {holder.since}" if holder and holder.since else ""
    message = f"{who} this fine-tune (run {run}){since}: wait for it to end, or stop it and run the same command again"
    return RunLockedError(message)
