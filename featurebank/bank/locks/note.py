"""Notes that name the holder of a lock, with a heartbeat: for people, and for disks whose locks other hosts do not see.

Only a change of the heartbeat counts, observed with the local clock, because another host's clock may be hours off. A
process that finds a note watches it: if the note changes, its holder lives; if it stays the same for a minute, its
holder is dead.
"""

from __future__ import annotations

import contextlib
import errno
import json
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
from featurebank.system.backing.protocol import backing_of
from featurebank.system.files import path_inside, read_regular
from featurebank.system.sealed_json import parse_sealed, write_sealed

HEARTBEAT_S = 5.0
DEAD_AFTER_S = 60.0
LOOK_AGAIN_S = 0.5
SETTLE_S = 2.0
"""Without locks, a process that has written a note waits this long before it checks that its note is still there."""
NOTE_WITHIN_S = 1.0
"""A process that has just taken a lock writes its note within this time, or its disk is full."""

_MOST_SECONDS = 1e15

NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""The errors of a system without locks on this disk."""

_KEYS = ({"host", "process", "heartbeat"}, {"host", "process", "since"})
"""The keys in notes of featurebank 0.1, which have no checksum."""


@dataclass(frozen=True)
class Holder:
    """The process that wrote a note."""

    host: str
    process: int
    heartbeat: float = 0.0
    """Unix seconds by the holder's clock, only for people."""
    since: str = ""
    token: str = ""
    """A random text that identifies this holder; empty in notes of featurebank 0.1."""
    mirror: str = ""
    """In a bucket: the mirror through which it writes; see `Backing.identity`."""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host."""
        return self.host == socket.gethostname()

    @property
    def name(self) -> str:
        """The process and its host, for messages."""
        return f"process {self.process} on {self.host}"


def read_note(path: Path) -> Holder | None:
    """Returns the holder that wrote a note; None if there is no note, or an invalid one."""
    with contextlib.suppress(OSError):
        if (backing := backing_of(path)) is None:
            return parse_note(read_regular(path))
        if answer := backing.read(path):
            return parse_note(answer[0])
    return None


def parse_note(data: bytes) -> Holder | None:
    """Returns the holder that wrote the bytes of a note; None if they are not one."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        value = _without_seal(data) or parse_sealed(data)
        path_inside(Path(), value["host"])
        holder = Holder(**value)
        texts = all(isinstance(text, str) for text in (holder.since, holder.token, holder.mirror))
        if texts and type(holder.process) is int and abs(holder.heartbeat) < _MOST_SECONDS:
            return holder
    return None


def is_unsealed_note(path: Path) -> bool:
    """Returns whether a file is a note of featurebank 0.1, which has no checksum."""
    with contextlib.suppress(ValueError):
        return _without_seal(read_regular(path)) is not None
    return False


def _without_seal(data: bytes) -> dict[str, Any] | None:
    value = json.loads(data.decode())
    return value if isinstance(value, dict) and set(value) in _KEYS else None


def watch(path: Path, holder: Holder, say: Callable[[str], None] = lambda line: None) -> bool:
    """Watches a note until it is clear whether its holder lives.

    Args:
        path: the note.
        holder: the holder that wrote it.
        say: receives one line if that takes longer than a moment.

    Returns:
        False if the note has not changed for `DEAD_AFTER_S`, or was deleted.
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
    """Returns the bytes and the time of a note; each beat changes one of them (on a full disk, only the time)."""
    with contextlib.suppress(OSError):
        return read_regular(path), path.stat().st_mtime_ns
    return None


class Heartbeat:
    """A note that a thread keeps alive inside a `with` block, and that is removed at the end of the block.

    A note that is there already is watched first, unless a lock shows that its holder is dead: the lock that the
    caller holds would still be that holder's, if it were a living process of this host.

    Args:
        path: the note.
        locked: whether the caller holds a lock. Without locks, if several processes write the note at once, the one
            whose note remains continues.
        say: receives one line if watching takes longer than a moment.
        since: the start of the work, for people.
        freeing: the holder frees space, so a disk that is too full for the note does not stop it.

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
        """The dead holder whose note was replaced, if any; set when the block begins."""
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
        """Returns the holder that has replaced this one, for example while a laptop slept; None if there is none."""
        holder = read_note(self._path)
        return holder if holder and holder.token != self._token else None

    def _dead_holder(self) -> Holder | None:
        """Returns the holder of an existing note; raises NoteTakenError if it lives."""
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
    """Another holder has written its note in the same place; `holder` describes it."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.name)
        self.holder = holder
