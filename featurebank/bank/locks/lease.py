"""Locks of a cache in a bucket: notes that are created, renewed and taken over under conditions.

A lease is an object that its holder replaces every `HEARTBEAT_S`, by the version that it wrote last. Whoever finds a
lease that has not changed for `DEAD_AFTER_S`, by the own clock, replaces the version that it found; of several, one
succeeds. A process of the same machine and mirror is known to be dead at once: it would hold the kernel's lock.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from featurebank.bank.locks import note
from featurebank.bank.locks.note import Heartbeat, Holder, NoteTakenError, parse_note
from featurebank.system.backing.protocol import Backing, backing_of
from featurebank.system.files import json_bytes
from featurebank.system.parallel import ordered_map
from featurebank.system.sealed_json import sealed

CLAIMED = ".claimed"
"""Directory of the claims of runs; the content of a claim names the session of its holder."""
SESSIONS = ".sessions"
"""Directory of the leases of processes that have claims: one lease for all claims of a process."""
_AT_ONCE = 16


def hold_note(
    path: Path,
    *,
    locked: bool = True,
    say: Callable[[str], None] = lambda line: None,
    since: str = "",
    freeing: bool = False,
) -> Heartbeat | Lease:
    """Returns the context manager that keeps a note alive: a file on the local disk, or a lease in a bucket.

    The arguments are those of `Heartbeat`.
    """
    if (backing := backing_of(path)) is not None:
        return Lease(backing, path, locked=locked, say=say, since=since)
    return Heartbeat(path, locked=locked, say=say, since=since, freeing=freeing)


class Lease:
    """A note in a bucket that a thread renews inside a `with` block, and that is removed at the end of the block.

    Args:
        backing: the storage.
        path: the note.
        locked: whether the caller holds the kernel's lock of this machine, which a dead holder has lost.
        say: receives one line if it takes long to find out whether another holder lives.
        since: the start of the work, for people.
        token: a random text that identifies the holder.

    Raises:
        NoteTakenError: another holder lives.
        StorageError: the bucket does not answer.
    """

    def __init__(
        self,
        backing: Backing,
        path: Path,
        *,
        locked: bool = False,
        say: Callable[[str], None] = lambda line: None,
        since: str = "",
        token: str = "",
    ) -> None:
        self._backing, self._path, self._locked, self._say, self._since = backing, path, locked, say, since
        self.dead: Holder | None = None
        """The dead holder whose lease was taken over, if any; set when the block begins."""
        self.token = token or secrets.token_hex(8)
        self._version = ""
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="featurebank-lease", daemon=True)

    def __enter__(self) -> Self:
        while not self._acquire():
            pass
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost:
            with contextlib.suppress(OSError):  # no answer: the lease ends by itself
                self._backing.discard(self._path, self._version)

    def other(self) -> Holder | None:
        """Returns the holder that has taken the lease over; None if there is none."""
        answer = self._backing.read(self._path) if self._lost else None
        return parse_note(answer[0]) if answer else None

    def _acquire(self) -> bool:
        """Tries to take the lease; returns False if another process was faster."""
        answer = self._backing.read(self._path)
        version = None
        if answer:
            holder, version = parse_note(answer[0]), answer[1]
            if holder and not (self._locked and is_of(self._backing, holder)):
                self._watch(holder, version)
            self.dead = holder
        new = self._backing.replace(self._path, self._content(), version)
        self._version = new or ""
        return new is not None

    def _watch(self, holder: Holder, version: str) -> None:
        """Raises NoteTakenError if a holder lives."""
        report = functools.partial(self._say, _watching(holder))
        if now := watch_version(self._backing, self._path, version, report):
            raise NoteTakenError(parse_note(now[0]) or holder)

    def _keep_renewing(self) -> None:
        while not self._stop.wait(note.HEARTBEAT_S):
            with contextlib.suppress(OSError):  # no answer: it is tried again
                self._renew()
                if self._lost:
                    return

    def _renew(self) -> None:
        new = self._backing.replace(self._path, self._content(), self._version)
        if new is None and (answer := self._backing.read(self._path)):
            # An earlier renewal may have arrived, although no answer came: then the lease is still this one's.
            holder = parse_note(answer[0])
            new = answer[1] if holder and holder.token == self.token else None
        self._lost = new is None
        self._version = new or self._version

    def _content(self) -> bytes:
        return note_bytes(self._backing, self.token, self._since)


def note_bytes(backing: Backing, token: str, since: str = "") -> bytes:
    """Returns the content of a note of this process."""
    about = {"host": socket.gethostname(), "process": os.getpid(), "heartbeat": time.time(), "token": token}
    return json_bytes(sealed({**about, "mirror": backing.identity, **({"since": since} if since else {})}))


def is_of(backing: Backing, holder: Holder) -> bool:
    """Returns whether a holder is or was a process of this machine that uses the same mirror."""
    return holder.is_here and holder.mirror == backing.identity


def watch_version(
    backing: Backing, path: Path, version: str, report: Callable[[], None] = lambda: None
) -> tuple[bytes, str] | None:
    """Watches a note until it is clear whether its holder lives.

    Args:
        backing: the storage.
        path: the note.
        version: the version that was read.
        report: called once if that takes longer than a moment.

    Returns:
        The changed note; None if it has not changed for `DEAD_AFTER_S`, or was removed.
    """
    began, reported = time.monotonic(), False
    while time.monotonic() - began < note.DEAD_AFTER_S:
        if not reported and time.monotonic() - began > note.LOOK_AGAIN_S:
            report()
            reported = True
        time.sleep(min(2 * note.LOOK_AGAIN_S, note.DEAD_AFTER_S / 10))
        answer = backing.read(path)
        if answer is None or answer[1] != version:
            return answer
    return None


def _watching(holder: Holder) -> str:
    return (
        f"watching for {note.DEAD_AFTER_S:.0f} s at most whether {holder.name}, which has left a note in the bucket, "
        "is at work"
    )


class BucketClaims:
    """The claims of runs that a process has in a bucket; they end with its session's lease.

    Args:
        backing: the storage.
        directory: the directory of the bank's runs.
    """

    def __init__(self, backing: Backing, directory: Path) -> None:
        self._backing, self._directory = backing, directory
        self._session: Lease | None = None
        self._versions: dict[str, str] = {}
        self._held_elsewhere: dict[str, float] = {}
        """When a run was last seen to be claimed by a living process."""
        self._observed: dict[str, tuple[str, float]] = {}
        """The version of each other session, and since when it has been that."""

    def claim_all(self, runs: Iterable[str], *, locked: bool, patient: bool = False) -> list[str]:
        """Claims runs, several at once; returns those that no other process has.

        Args:
            runs: their ids.
            locked: whether the caller holds the kernel's locks of this machine, which a dead holder has lost.
            patient: watch another holder until it is clear whether it lives; otherwise that takes several calls.
        """
        names = list(runs)
        if names and self._session is None:
            token = secrets.token_hex(8)
            session = Lease(self._backing, self._directory / SESSIONS / f"{token}.json", token=token)
            self._session = session.__enter__()

        def claim(run: str) -> bool:
            return self._claim(run, locked=locked, patient=patient)

        results = ordered_map(claim, names, name="claims", count=_AT_ONCE)
        return [run for run, mine in zip(names, results, strict=True) if mine]

    def release(self, runs: Iterable[str]) -> None:
        """Releases claims."""
        mine = [run for run in runs if run in self._versions]

        def release(run: str) -> None:
            with contextlib.suppress(OSError):  # no answer: the claim ends with the session
                self._backing.discard(self._place(run), self._versions.pop(run))

        for _ in ordered_map(release, mine, name="claims", count=_AT_ONCE):
            pass

    def close(self) -> None:
        """Ends the session, after the claims were released."""
        if self._session is not None:
            self._session.__exit__(None, None, None)
            self._session = None

    def _place(self, run: str) -> Path:
        return self._directory / CLAIMED / f"{run}.json"

    def _claim(self, run: str, *, locked: bool, patient: bool) -> bool:
        if not patient and time.monotonic() - self._held_elsewhere.get(run, -note.HEARTBEAT_S) < note.HEARTBEAT_S:
            return False  # asked a moment ago
        assert self._session is not None, "claim_all has begun it"
        place, content = self._place(run), note_bytes(self._backing, self._session.token)
        version = self._backing.replace(place, content, None)
        if version is None and (answer := self._backing.read(place)):
            holder = parse_note(answer[0])
            dead = holder is None or (locked and is_of(self._backing, holder))
            if dead or (holder and self._has_ended(holder.token, patient=patient)):
                version = self._backing.replace(place, content, answer[1])
        if version is None:
            self._held_elsewhere[run] = time.monotonic()
            return False
        self._versions[run] = version
        return True

    def _has_ended(self, token: str, *, patient: bool) -> bool:
        """Returns whether another session has ended: its lease is gone, or has not changed for `DEAD_AFTER_S`."""
        path = self._directory / SESSIONS / f"{token}.json"
        answer = self._backing.read(path) if token.isalnum() else None
        if answer is None:
            return True
        if patient:
            return watch_version(self._backing, path, answer[1]) is None
        now = time.monotonic()
        version, since = self._observed.get(token, ("", now))
        if version != answer[1]:
            since = now
        self._observed[token] = answer[1], since
        return now - since >= note.DEAD_AFTER_S
