"""One writer per bank: a lock that names its holder, and that ends with its process.

It has two parts, because neither is enough alone. The system's own file lock (through `filelock`) is exact between the
processes of one machine and is freed by the kernel when its holder dies. A note beside it (host, process, heartbeat)
shows people the holder, and replaces the lock on disks without locks, or whose locks other hosts do not see (`note`).
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock

from featurebank.bank.locks import note
from featurebank.bank.locks.lease import Lease, hold_note
from featurebank.bank.locks.note import NO_LOCKS, Heartbeat, Holder, NoteTakenError, read_note
from featurebank.errors import BankLockedError, BankReadOnlyError
from featurebank.storage.caches import shown_path
from featurebank.system.backing.protocol import ChangedElsewhereError, backing_of
from featurebank.system.files import explain_full_disk

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
NOTE = "writer.json"
LOCK = ".writer.lock"
PROTECTED = "manifest.json"
"""The file that only the holder replaces; in a bucket, only as it was when the lock was taken."""


class WriterLock:
    """Holds a bank for writing inside a `with` block.

    Args:
        directory: the bank's directory; created if it does not exist.
        wait: whether to wait for another holder, instead of raising.
        say: receives one line with the holder that is waited for, or with the dead holder whose lock was taken over.
        freeing: the holder frees space, so a disk that is too full for the note does not stop it; it still holds the
            system's lock.

    Raises:
        BankLockedError: another process holds it; the message names it, and the time of its last heartbeat.
        BankReadOnlyError: the directory is not writable.
    """

    _heartbeat: Heartbeat | Lease
    """Keeps the note of the holder fresh; a new one for each attempt to get the lock."""

    def __init__(
        self, directory: Path, *, wait: bool = False, say: Callable[[str], None] | None = None, freeing: bool = False
    ) -> None:
        self._directory, self._wait, self._say, self._freeing = directory, wait, say or (lambda line: None), freeing
        with explain_read_only(directory):
            directory.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(directory / LOCK, timeout=0, fallback_to_soft=False)
        self._exact = True
        """Whether the system's lock works on this disk."""

    def __enter__(self) -> Self:
        waited = False
        while True:
            try:
                dead = self._acquire_with_note()
                break
            except BankLockedError as error:
                if not self._wait:
                    raise
                if not waited:
                    self._say(f"waiting: {str(error).partition(' now: ')[0]}")
                    waited = True
                time.sleep(note.LOOK_AGAIN_S)
        if dead:
            self._say(
                f"{dead.name} ended without releasing '{self._directory.name}': this process takes over, and keeps all "
                "finished work"
            )
        return self

    def check(self) -> None:
        """Raises BankLockedError if another process has taken the bank over, for example while this machine slept."""
        if other := self._heartbeat.other():
            raise _locked_error(self._directory, other)

    def _acquire_with_note(self) -> Holder | None:
        """Acquires the lock and writes the note; returns the dead holder that it replaces, if any."""
        self._acquire()
        try:
            path = self._directory / NOTE
            self._heartbeat = hold_note(path, locked=self._exact, say=self._say, freeing=self._freeing)
            with explain_read_only(self._directory):
                self._heartbeat.__enter__()
            self._pin()
        except NoteTakenError as error:
            self._lock.release()
            raise _locked_error(self._directory, error.holder) from error
        except BaseException:
            self._lock.release()
            raise
        return self._heartbeat.dead

    def _pin(self) -> None:
        if (backing := backing_of(self._directory)) is not None:
            try:
                backing.pin(self._directory / PROTECTED)
            except BaseException:
                self._heartbeat.__exit__(None, None, None)
                raise

    def _acquire(self) -> None:
        """Acquires the system's lock; otherwise raises, after a holder that has just started has written its note."""
        deadline = time.monotonic() + note.NOTE_WITHIN_S
        before = read_note(self._directory / NOTE)
        while True:
            try:
                with explain_read_only(self._directory), explain_full_disk(self._directory / NOTE):
                    self._directory.mkdir(parents=True, exist_ok=True)  # its last holder may have removed the bank
                    self._lock.acquire()
                return
            except filelock.Timeout as error:
                holder = read_note(self._directory / NOTE)
                known = holder and (holder != before or _is_fresh(holder))
                if known or time.monotonic() > deadline:
                    raise _locked_error(self._directory, holder) from error
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                self._exact = False
                return
            time.sleep(note.NOTE_WITHIN_S / 50)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if (backing := backing_of(self._directory)) is not None:
                backing.unpin(self._directory / PROTECTED)
            self._heartbeat.__exit__(kind, error, trace)
        finally:
            self._lock.release()


def read_holder(directory: Path) -> dict[str, Any] | None:
    """Returns host, process and heartbeat (Unix seconds) of a bank's holder, dead or alive; None without a note."""
    if not (holder := read_note(directory / NOTE)):
        return None
    return {"host": holder.host, "process": holder.process, "heartbeat": holder.heartbeat}


def _is_fresh(holder: Holder) -> bool:
    """Returns whether a process of this host has just written its note, by their common clock."""
    return holder.is_here and abs(time.time() - holder.heartbeat) < 2 * note.HEARTBEAT_S


def _locked_error(directory: Path, holder: Holder | None) -> BankLockedError:
    who = "another process"
    if holder:
        seconds = max(0, time.time() - holder.heartbeat) if holder.is_here else 0
        who = f"{holder.name} (last seen {f'{seconds:.0f} s ago' if seconds >= 1 else 'just now'})"
    message = (
        f"{who} writes the bank '{shown_path(directory)}' now: wait for it to end, then run the same command again"
    )
    return BankLockedError(message)


@contextlib.contextmanager
def explain_conflict(directory: Path) -> Iterator[None]:
    """Turns the error of a manifest in a bucket that another process has replaced meanwhile into BankLockedError."""
    try:
        yield
    except ChangedElsewhereError as error:
        holder = read_note(directory / NOTE)
        who = f"{holder.name} has taken over and writes" if holder else "another process has written"
        message = (
            f"{who} the bank '{shown_path(directory)}', because this process gave no sign of life for "
            f"{note.DEAD_AFTER_S:.0f} s: nothing that it listed is lost; run the same command again"
        )
        raise BankLockedError(message) from error


@contextlib.contextmanager
def explain_read_only(directory: Path) -> Iterator[None]:
    """Turns the error of a read-only disk into BankReadOnlyError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        message = (
            f"'{directory}' is read-only ({error.strerror}): nothing can be written there; choose another --cache, or "
            "make it writable"
        )
        raise BankReadOnlyError(message) from error
