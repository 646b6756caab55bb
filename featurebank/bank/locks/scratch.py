"""Temporary directories for data that is derived from a bank's features and does not fit into memory.

They lie beside the bank's runs, where there is space for large files. The directory of a process that was killed is
removed by the next process that needs one: a lock, which the kernel releases, shows which are in use.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

from featurebank.bank.locks.writer_lock import explain_read_only
from featurebank.errors import DiskFullError
from featurebank.system.parallel import cleaned_up_by
from featurebank.system.runtime import tidy_bytes

LEAST_FREE = 1 << 20
"""A disk with less free space is full."""
PREFIX = ".scratch-"
"""Prefix of the names of the directories, and of the files with their locks, which end with `.lock`."""


class Scratch:
    """A temporary directory beside the runs of a bank; it exists until `close`.

    Args:
        bank: the bank's directory.
        needed: about how many bytes it will hold.

    Raises:
        DiskFullError: the disk has less space.
        BankReadOnlyError: the bank is read-only.
    """

    def __init__(self, bank: Path, needed: int) -> None:
        from filelock import FileLock

        directory = bank / "runs"
        self.path = directory / f"{PREFIX}{uuid.uuid4().hex[:12]}"
        self._lock = FileLock(_lock_of(self.path), thread_local=False)
        with explain_read_only(directory):
            directory.mkdir(parents=True, exist_ok=True)
            _remove_remains(directory)
            check_space(directory, needed)
            self._lock.acquire()
            self.path.mkdir()
        self._cleanup = contextlib.ExitStack()
        self._cleanup.enter_context(cleaned_up_by(self._remove))

    def close(self) -> None:
        """Removes the directory."""
        self._remove()
        self._lock.release()
        self._cleanup.close()

    def _remove(self) -> None:
        _lock_of(self.path).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def check_space(directory: Path, needed: int) -> None:
    """Raises DiskFullError if a disk has less space than temporary files need."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        message = (
            f"temporary files in '{directory}' need about {tidy_bytes(needed)}, and {tidy_bytes(free)} are free: free "
            "some space, train on fewer images with --sample N, or increase --ram"
        )
        raise DiskFullError(message)


def _remove_remains(directory: Path) -> None:
    """Removes the directories of dead processes."""
    from filelock import FileLock, Timeout

    for file in directory.glob(f"{PREFIX}*.lock"):
        with contextlib.suppress(Timeout, OSError, NotImplementedError), FileLock(file, timeout=0):
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
