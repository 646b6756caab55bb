"""Names of temporary files, and the removal of those whose writers were killed.

Whoever holds the lock of a bank or the claim of a run removes its temporary files at once. All others are removed by
the next process that writes into their directory, a day after their last change.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".writing-"
"""Prefix of the names of unfinished files; such a file may be deleted when no writer is alive."""
ABANDONED_S = 24 * 3600.0
"""A writer changes its temporary file more often than this, whatever the clock of a network disk says."""

_NAME_BYTES = 200
_OURS = re.compile(re.escape(TEMPORARY_PREFIX) + r"([0-9a-f]{12}(-.*)?|[a-z0-9_]{8})", re.DOTALL)
"""The names of `temporary_path`, and those of `temporary_folder`; other files are not ours."""


def temporary_path(directory: Path, name: str = "") -> Path:
    """Returns a new path in a directory, and removes what killed processes have left there.

    Args:
        directory: the directory, which exists.
        name: the name of the file that is being written, if it has one already.
    """
    _sweep(directory)
    end = name.encode(errors="surrogateescape")[-_NAME_BYTES:].decode(errors="ignore")  # most disks allow 255
    return directory / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{'-' if end else ''}{end}"


@contextlib.contextmanager
def temporary_folder(directory: Path) -> Iterator[Path]:
    """Yields a new folder in a directory for the block, and removes what killed processes have left there."""
    _sweep(directory)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=directory) as folder:
        yield Path(folder)


def remove_abandoned(directory: Path) -> None:
    """Removes the temporary files and folders that nobody has changed for a day; one that cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(directory) as found:
        for entry in found:
            if _OURS.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # another process removes it, too
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_S:
                        _remove(entry)


_sweep = functools.cache(remove_abandoned)
"""Does the same once a process and directory: thousands of runs are written into one."""


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        os.unlink(entry.path)  # noqa: PTH108 - the entry has no Path
