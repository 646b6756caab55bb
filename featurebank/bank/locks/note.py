"""Notes that tell who holds something, with a heartbeat: for people, and for disks whose locks do not reach everybody.

A heartbeat is judged by its change alone, seen with one's own clock: another host's clock may be hours ahead or behind.
So whoever finds a note watches it. It changes: its holder lives. It stays the same for a minute: its holder is dead.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from featurebank.errors import DiskFullError
from featurebank.system.files import path_inside, read_regular
from featurebank.system.sealed_json import read_sealed, write_sealed

HEARTBEAT_S = 5.0
DEAD_AFTER_S = 60.0
LOOK_AGAIN_S = 0.5
SETTLE_S = 2.0
"""Where there are no locks, who has written a note waits so long to see whether it stands; no write takes longer."""
NOTE_WITHIN_S = 1.0
"""A process that has just taken a lock writes its note within this time, or its disk is full."""

NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""What a system answers that has no locks on this disk."""

_KEYS = ({"host", "process", "heartbeat"}, {"host", "process", "since"})
"""What stands in the notes that featurebank 0.1 wrote, without a checksum."""


@dataclass(frozen=True)
class Holder:
    """Who wrote a note."""

    host: str
    process: int
    heartbeat: float = 0.0
    """Unix seconds by the holder's clock: for people alone."""
    since: str = ""
    token: str = ""
    """Of this holder and no other; empty in the notes of featurebank 0.1."""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host."""
        return self.host == socket.gethostname()

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"process {self.process} on {self.host}"


def read_note(path: Path) -> Holder | None:
    """Returns who wrote a note; None where there is none, or one that nobody can have written."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        value = _without_seal(path) or read_sealed(path)
        path_inside(Path(), value["host"])
        holder = Holder(**value)
        texts = isinstance(holder.since, str) and isinstance(holder.token, str)
        if texts and type(holder.process) is int and math.isfinite(holder.heartbeat):
            return holder
    return None


def is_unsealed_note(path: Path) -> bool:
    """Tells whether a file is a note of featurebank 0.1, which has no checksum."""
    with contextlib.suppress(ValueError):
        return _without_seal(path) is not None
    return False


def _without_seal(path: Path) -> dict[str, Any] | None:
    value = json.loads(read_regular(path).decode())
    return value if isinstance(value, dict) and set(value) in _KEYS else None


def watch(path: Path, holder: Holder, say: Callable[[str], None] = lambda line: None) -> bool:
    """Watches a note until it is known whether its holder lives.

    Args:
        path: of the note.
        holder: who wrote it.
        say: called with one line where that takes longer than a moment.

    Returns:
        False if the note has not changed for `DEAD_AFTER_S`, or has gone.
    """
    first, began, reported = _state(path), time.monotonic(), False
    while (now := _state(path)) is not None and now == first:
        if time.monotonic() - began >= DEAD_AFTER_S:
            return False
        if not reported and time.monotonic() - began > LOOK_AGAIN_S:
            say(f"watching for {DEAD_AFTER_S:.0f} s at most whether {holder.name}, which has left a note, is at work")
            reported = True
        time.sleep(min(LOOK_AGAIN_S, DEAD_AFTER_S / 10))
    return now is not None


def _state(path: Path) -> tuple[bytes, int] | None:
    """Returns what every beat changes: the bytes of a note, or on a full disk its time."""
    with contextlib.suppress(OSError):
        return read_regular(path), path.stat().st_mtime_ns
    return None


class Heartbeat:
    """A note that a thread keeps alive inside a `with` block, and that is removed at the end of the block.

    A note that is there already is watched first, unless a lock shows that its holder is dead: the lock that the
    caller holds would still be that holder's, if it were a living process of this host.

    Args:
        path: of the note.
        locked: whether the caller holds a lock. Without locks, if several processes write the note at once, the one
            whose note remains continues.
        say: called with one line if watching takes longer than a moment.
        since: when the work began, for people.
        freeing: the holder frees space, so that a disk which is too full for the note does not stop it.

    Raises:
        DiskFullError: no space is left for the note.
        NoteTakenError: another holder lives.
    """

    def __init__(
        self,
        path: Path,
        *,
        locked: bool = True,
        say: Callable[[str], None] = lambda line: None,
        since: str = "",
        freeing: bool = False,
    ) -> None:
        self._path, self._locked, self._say, self._since, self._freeing = path, locked, say, since, freeing
        self.dead: Holder | None = None
        """Who held it before and died, once the block has begun."""
        self._token = secrets.token_hex(8)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="featurebank-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.dead = self._dead_holder()
            self._first_beat()
            if not self._locked:
                time.sleep(SETTLE_S)
            if other := self.other():
                raise NoteTakenError(other)
            self._thread.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._leave()

    def other(self) -> Holder | None:
        """Returns who has taken over what this holder held, as from a laptop that slept; None if nobody has."""
        holder = read_note(self._path)
        return holder if holder and holder.token != self._token else None

    def _dead_holder(self) -> Holder | None:
        """Returns whose note is there; raises NoteTakenError if that holder lives."""
        holder = read_note(self._path)  # a holder that ended well has removed its note
        if holder and not (holder.is_here and self._locked) and watch(self._path, holder, self._say):
            raise NoteTakenError(read_note(self._path) or holder)
        return holder

    def _first_beat(self) -> None:
        try:
            self._beat()
        except DiskFullError:
            if not self._freeing:
                raise

    def _leave(self) -> None:
        holder = read_note(self._path)
        if holder and holder.token == self._token:
            self._path.unlink(missing_ok=True)

    def _keep_beating(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            if self.other():
                return
            try:
                self._beat()
            except OSError:  # a full disk must not look like a death
                with contextlib.suppress(OSError):
                    os.utime(self._path)

    def _beat(self) -> None:
        about = {"host": socket.gethostname(), "process": os.getpid(), "heartbeat": time.time(), "token": self._token}
        write_sealed(self._path, {**about, **({"since": self._since} if self._since else {})})


class NoteTakenError(Exception):
    """Somebody else's note stands where one was written; `holder` tells whose."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.name)
        self.holder = holder
