"""One writer a bank: a lock that tells who holds it, and that a dead process cannot keep.

Two layers, because neither is enough alone. The system's own file lock (through `filelock`) is exact between the
processes of one machine and is freed by the kernel when its holder dies. A note beside it (host, process, heartbeat)
tells people who holds it, and guards network disks whose file locks do not reach other hosts: there a holder counts
as dead when its heartbeat is older than a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock

from featurebank.errors import BankLockedError, DiskFullError
from featurebank.files import explain_full_disk, write_json

HEARTBEAT_S = 5.0
DEAD_AFTER_S = 60.0
LOOK_AGAIN_S = 0.5
_NOTE_WITHIN_S = 1.0
"""A holder writes its note within this time, or its disk is full."""
NOTE = "writer.json"
LOCK = ".writer.lock"


class WriterLock:
    """Holds a bank for writing inside a `with` block.

    Args:
        directory: the bank's; made if it is not there.
        wait: wait until a holder has ended.
        tell: called with one line on whom is waited for, and on a dead holder whose lock is taken over.
        freeing: the holder frees space, so that a disk which is too full for the note does not stop it; the system's
            lock is held all the same.

    Raises:
        BankLockedError: another process holds it; the message says which, and since when it was last heard of.
    """

    def __init__(
        self, directory: Path, *, wait: bool = False, tell: Callable[[str], None] | None = None, freeing: bool = False
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._wait, self._tell, self._freeing = wait, tell or (lambda line: None), freeing
        self._note = directory / NOTE
        self._lock = filelock.FileLock(directory / LOCK, timeout=0)
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._keep_beating, name="featurebank-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        waited = False
        while True:
            try:
                dead = self._take()
                break
            except BankLockedError as error:
                if not self._wait:
                    raise
                if not waited:
                    self._tell(f"waiting: {str(error).partition(':')[0]}")
                    waited = True
                time.sleep(LOOK_AGAIN_S)
        if dead:
            self._tell(
                f"process {dead['process']} on {dead['host']} ended without letting go of '{self._note.parent.name}': "
                "taken over, what it had finished is kept"
            )
        try:
            self._first_note()
            self._beat.start()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _take(self) -> dict[str, Any] | None:
        """Takes the lock; returns who held it and is dead, if anybody."""
        self._acquire()
        holder = read_holder(self._note.parent)  # whoever let go since has taken its note away
        if holder and holder["host"] != socket.gethostname() and time.time() - holder["heartbeat"] < DEAD_AFTER_S:
            self._lock.release()
            raise _held(self._note.parent, holder)
        return holder

    def _acquire(self) -> None:
        """Takes the system's lock, or tells who has it: a holder that has just taken it has yet to write its note."""
        deadline = time.monotonic() + _NOTE_WITHIN_S
        while True:
            try:
                with explain_full_disk(self._note):
                    self._note.parent.mkdir(parents=True, exist_ok=True)  # its last holder may have removed the bank
                    self._lock.acquire()
                return
            except filelock.Timeout as error:
                holder = read_holder(self._note.parent)
                alive = holder and time.time() - holder["heartbeat"] < 2 * HEARTBEAT_S
                if alive or time.monotonic() > deadline:
                    raise _held(self._note.parent, holder or {}) from error
            time.sleep(_NOTE_WITHIN_S / 50)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._beat.join()
        self._note.unlink(missing_ok=True)
        self._lock.release()

    def _keep_beating(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # a full disk must not look like a death: the next beat may succeed
                self._write_note()

    def _first_note(self) -> None:
        try:
            self._write_note()
        except DiskFullError:
            if not self._freeing:
                raise

    def _write_note(self) -> None:
        note = {"host": socket.gethostname(), "process": os.getpid(), "heartbeat": time.time()}
        write_json(self._note, note)


def read_holder(directory: Path) -> dict[str, Any] | None:
    """Returns who holds a bank, or last held it without letting go: host, process and heartbeat (Unix seconds)."""
    try:
        note = json.loads((directory / NOTE).read_text(encoding="utf-8"))
        return {"host": str(note["host"]), "process": int(note["process"]), "heartbeat": float(note["heartbeat"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _held(directory: Path, holder: dict[str, Any]) -> BankLockedError:
    who = "another process"
    if holder:
        seconds = max(0, time.time() - holder["heartbeat"])
        who = f"process {holder['process']} on {holder['host']} (heard of {seconds:.0f} s ago)"
    message = f"{who} writes the bank '{directory}' now: wait for it to end, then run the same command again"
    return BankLockedError(message)
