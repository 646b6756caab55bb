"""The files of unfinished fine-tunes and of lost runs in a bank's `runs`, and which of them are no longer needed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from featurebank.bank.locks.claims import HOLDER, Claims
from featurebank.system.backing.directories import find, is_file, modified, remove
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX

CHECKPOINT = ".checkpoint"
"""Suffix of the file from which a fine-tune resumes."""
PREDICTIONS = ".npz"
"""Suffix of the file with the validation predictions of a run."""
_MODEL = ".keras"
_HEAD = ".head"
"""Suffix of the weights of a head, which are written before its record."""
_RUN = "[0-9a-f]" * 10
_GIVEN_UP_S = 30 * 24 * 3600.0
"""A checkpoint older than this is never resumed."""
_OLD_S = 3600.0
"""A model or a head without a record is younger than this, unless its process has died."""


def leftovers(directory: Path) -> list[Path]:
    """Returns the files of finished or abandoned fine-tunes, and weights and predictions of no run, but none in use.

    Args:
        directory: directory of a bank's runs; if it is a link to another place, nothing is returned.
    """
    if directory.is_symlink():
        return []
    files = [file for end in (CHECKPOINT, HOLDER, _MODEL, _HEAD, PREDICTIONS) for file in find(directory, _RUN + end)]
    needless = [file for file in files if _is_needless(file)]
    if not needless:
        return []
    with contextlib.suppress(PermissionError), Claims(directory) as claims:  # a read-only directory stays as it is
        free = [file for file in needless if claims.claim(file.stem)]
        return free if claims.locks else []  # without locks it is unknown which files are in use
    return []


def remove_leftovers(directory: Path) -> None:
    """Removes the files of `leftovers`, each while no process can start to use it."""
    if not (files := leftovers(directory)):
        return
    with Claims(directory) as claims:
        for file in files:
            if claims.claim(file.stem) and _is_needless(file):
                remove(file)


def remove_temporaries(directory: Path, run: str) -> None:
    """Removes what a killed process was writing for a fine-tune; the caller holds its claim, so nobody writes it now.

    Args:
        directory: the directory of the bank's runs.
        run: the id of the fine-tune.
    """
    for end in (CHECKPOINT, _MODEL):  # notes and records are written without the claim, too
        for file in find(directory, f"{TEMPORARY_PREFIX}*-{run}{end}"):
            remove(file)


def _is_needless(file: Path) -> bool:
    """Returns whether a file is no longer needed, provided that no process is using it."""
    if file.suffix == HOLDER:
        return True
    if is_file(file.with_suffix(".json")):
        return file.suffix == CHECKPOINT
    if file.suffix == CHECKPOINT:
        return _age(file) > _GIVEN_UP_S
    return _age(file) > _OLD_S and not is_file(file.with_suffix(CHECKPOINT))


def _age(file: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - modified(file)
    return 0.0
