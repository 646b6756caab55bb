"""Claims of runs: locks that prevent two processes from training the same run of a grid, or the same fine-tune.

A claim is a lock on one byte of an empty file; the id of the run determines the offset of the byte. The kernel releases
the lock when its process dies, however that happens. POSIX locks have two traps, which this module handles. They belong
to the process, so that they do not separate its threads. And closing any handle of the file releases all locks of the
process in it, so there is only one handle per file and process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from featurebank.bank.locks.lease import BucketClaims, hold_note
from featurebank.bank.locks.note import NO_LOCKS, NOTE_WITHIN_S, Holder, NoteTakenError, read_note
from featurebank.bank.locks.writer_lock import explain_read_only
from featurebank.errors import RunLockedError
from featurebank.system.backing.protocol import backing_of

NAME = ".claims"
HOLDER = ".holder"
"""The suffix of the file that names the process which runs a fine-tune now."""
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@dataclass
class _Handle:
    """The only handle of a file in this process."""

    key: str
    """Its key in `_handles`: the absolute path of the file."""
    file: int
    users: int = 0
    claimed: set[str] = field(default_factory=set)


_handles: dict[str, _Handle] = {}
_guard = threading.Lock()


class Claims:
    """The claims of one call of `train_heads` or `finetune` on a bank; the end of its `with` block releases them.

    Args:
        directory: the directory of the bank's runs; the first claim creates it.
        warn: called once if the file system has no locks; then every claim is granted.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None] = lambda line: None) -> None:
        self._path, self._warn = directory / NAME, warn
        self._mine: set[str] = set()
        self._in_bucket: set[str] = set()
        self.locks = True
        """Whether the disk has locks, as far as is known; without them, every claim is granted."""
        self._handle: _Handle | None = None
        backing = backing_of(directory)
        self._bucket = BucketClaims(backing, directory) if backing is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(list(self._mine))
        if self._bucket:
            self._bucket.close()
        with _guard:
            if self._handle:
                self._handle.users -= 1
                if not self._handle.users:
                    os.close(self._handle.file)
                    del _handles[self._handle.key]
                self._handle = None

    def claim(self, run: str, *, patient: bool = False) -> bool:
        """Claims a run; returns False if another process, or another block of this process, has claimed it.

        Args:
            run: its id.
            patient: in a bucket, wait until it is clear whether another holder lives; see `BucketClaims`.

        Raises:
            BankReadOnlyError: the directory is read-only.
        """
        return bool(self.claim_all([run], patient=patient))

    def claim_all(self, runs: Iterable[str], *, patient: bool = False) -> list[str]:
        """Claims runs; returns those that this block has now. In a bucket, it claims several at once.

        Args:
            runs: their ids.
            patient: see `claim`.

        Raises:
            BankReadOnlyError: the directory is read-only.
        """
        mine = [run for run in dict.fromkeys(runs) if self._claim_here(run)]
        if self._bucket:
            more = [run for run in mine if run not in self._in_bucket]
            granted = self._bucket.claim_all(more, locked=self.locks, patient=patient)
            self._in_bucket.update(granted)
            self._release_here(set(more) - set(granted))
            mine = [run for run in mine if run in self._in_bucket]
        return mine

    def _claim_here(self, run: str) -> bool:
        """Claims a run on this machine."""
        with _guard:
            handle = self._opened()
            if run in handle.claimed:
                return run in self._mine
            if self.locks and not self._lock(handle.file, run):
                return False
            handle.claimed.add(run)
        self._mine.add(run)
        return True

    def release(self, runs: Iterable[str]) -> None:
        """Releases claims of runs, after they were recorded or given up."""
        names = list(runs)
        if self._bucket:
            self._bucket.release([run for run in names if run in self._in_bucket])
            self._in_bucket -= set(names)
        self._release_here(names)

    def _release_here(self, runs: Iterable[str]) -> None:
        for run in runs:
            if run in self._mine and self._handle:
                self._mine.remove(run)
                with _guard:
                    self._handle.claimed.discard(run)
                    if self.locks:
                        _unlock(self._handle.file, _offset(run))

    def _opened(self) -> _Handle:
        if self._handle is None:
            key = str(self._path.resolve())
            if key not in _handles:
                with explain_read_only(self._path.parent):
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    _handles[key] = _Handle(key, os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666))
            self._handle = _handles[key]
            self._handle.users += 1
        return self._handle

    def _lock(self, file: int, run: str) -> bool:
        try:
            _lock(file, _offset(run))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            if error.errno not in NO_LOCKS:
                raise
            self.locks = False
            self._warn(
                f"'{self._path.parent}' lies on a disk without file locks ({error.strerror}): another process with "
                "the same command would train the same; run one at a time"
            )
        return True


@contextlib.contextmanager
def hold_run(directory: Path, run: str, say: Callable[[str], None]) -> Iterator[None]:
    """Claims a fine-tune for the block, with a note that names its process to others.

    If the disk has no locks, or none that other hosts see, the note replaces the lock. If the process dies, its claim
    ends.

    Args:
        directory: the directory of the bank's runs.
        run: the id of the fine-tune.
        say: called with one line if it takes a moment to find out whether another holder is alive.

    Raises:
        RunLockedError: another process or thread runs it.
        DiskFullError: no space is left for a note.
    """
    path = directory / f"{run}{HOLDER}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with Claims(directory) as claims:
        if not claims.claim(run, patient=True):
            raise _locked_error(run, _holder(path))
        try:
            with hold_note(path, locked=claims.locks, say=say, since=now):
                yield
        except NoteTakenError as error:
            raise _locked_error(run, error.holder) from error


def _holder(path: Path) -> Holder | None:
    """Returns who wrote a note; waits a moment for a process that has claimed the run and is about to write it."""
    deadline = time.monotonic() + NOTE_WITHIN_S
    while not (holder := read_note(path)) and time.monotonic() < deadline:
        time.sleep(NOTE_WITHIN_S / 50)
    return holder


def _locked_error(run: str, holder: Holder | None) -> RunLockedError:
    who = f"{holder.name} has been doing" if holder else "another process does"
    since = f" since {holder.since}" if holder and holder.since else ""
    message = f"{who} this fine-tune (run {run}){since}: wait for it to end, or stop it and run the same command again"
    return RunLockedError(message)


def _offset(run: str) -> int:
    return int(run, 16)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int, offset: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset, os.SEEK_SET)

    def _unlock(file: int, offset: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, offset, os.SEEK_SET)
