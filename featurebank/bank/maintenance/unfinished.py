"""What a fine-tune that has not ended has in a bank's `runs`, and which of it nobody goes on from."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from featurebank.bank.locks.claims import HOLDER, Claims

CHECKPOINT = ".checkpoint"
"""How the name of the file ends that a fine-tune goes on from."""
_MODEL = ".keras"
_RUN = "[0-9a-f]" * 10
_GIVEN_UP_S = 30 * 24 * 3600.0
"""Nobody goes on with a checkpoint that is so old."""
_OLD_S = 3600.0
"""A model without a record is not so old, unless its fine-tune has died."""


def leftovers(directory: Path) -> list[Path]:
    """Returns the files of fine-tunes that are finished or given up, but not of those that a process does now.

    Args:
        directory: of a bank's runs; of one that is a link to another place, nothing is a leftover.
    """
    if directory.is_symlink():
        return []
    files = [file for end in (CHECKPOINT, HOLDER, _MODEL) for file in sorted(directory.glob(_RUN + end))]
    needless = [file for file in files if _is_needless(file)]
    if not needless:
        return []
    with contextlib.suppress(PermissionError), Claims(directory) as claims:  # who may not write may not take away
        free = [file for file in needless if claims.take(file.stem)]
        return free if claims.locks else []  # without locks nobody knows what is in use
    return []


def remove_leftovers(directory: Path) -> None:
    """Takes away what `leftovers` finds, each file while no process can begin with it."""
    if not (found := leftovers(directory)):
        return
    with Claims(directory) as claims:
        for file in found:
            if claims.take(file.stem) and _is_needless(file):
                file.unlink(missing_ok=True)


def _is_needless(file: Path) -> bool:
    """Tells whether nobody goes on from a file, if no process uses it now."""
    if file.suffix == HOLDER:
        return True
    if file.with_suffix(".json").is_file():
        return file.suffix == CHECKPOINT
    if file.suffix == CHECKPOINT:
        return _age(file) > _GIVEN_UP_S
    return _age(file) > _OLD_S and not file.with_suffix(CHECKPOINT).is_file()


def _age(file: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - file.stat().st_mtime
    return 0.0
