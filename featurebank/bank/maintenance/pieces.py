"""Which files of an extraction in pieces `cache gc` keeps, and which nobody will use any more."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

from featurebank.bank.pieces.notes import PIECES, note_files, read_notes
from featurebank.bank.pieces.request import request_files
from featurebank.system.backing.directories import entries, find, modified
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX

_GIVEN_UP_S = 30 * 24 * 3600.0
"""Finished pieces that nobody has listed for so long belong to an extraction that was given up."""
_OLD_S = 3600.0
"""No piece takes this long between its first shard and its note."""


def needed_shards(bank: Path, recipe: str, unlisted: Iterable[Path]) -> set[Path]:
    """Returns the unlisted shards that finished pieces name, or that a piece may be writing now.

    Args:
        bank: the bank's directory.
        recipe: the bank's key.
        unlisted: the shards that the manifest does not list.
    """
    if (bank / PIECES).is_symlink() or not entries(bank / PIECES):
        return set()
    names = {name for note in read_notes(bank, recipe).notes if not _is_older(note.path(bank), _GIVEN_UP_S)
             for name in note.files}  # fmt: skip
    return {path for path in unlisted if path.name in names or not _is_older(path, _OLD_S)}


def needless_files(bank: Path, recipe: str) -> list[Path]:
    """Returns the files of pieces that were given up, and those that are not of this bank and not new."""
    if (bank / PIECES).is_symlink():
        return []
    valid = {note.path(bank) for note in read_notes(bank, recipe).notes}
    requests = [*request_files(bank), *find(bank / PIECES, "items-*")]
    broken = [path for path in note_files(bank) if path not in valid]
    temporary = find(bank / PIECES, f"{TEMPORARY_PREFIX}*")
    return [*_older(broken, _OLD_S), *_older(temporary, _OLD_S), *_older([*sorted(valid), *requests], _GIVEN_UP_S)]


def has_new_pieces(bank: Path) -> bool:
    """Returns whether a process has written pieces of a bank lately, so that they are not the remains of a bank."""
    if (bank / PIECES).is_symlink():
        return False
    return any(not _is_older(path, _GIVEN_UP_S) for path in (*note_files(bank), *request_files(bank)))


def _older(paths: Collection[Path], seconds: float) -> list[Path]:
    return [path for path in paths if _is_older(path, seconds)]


def _is_older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - modified(path) > seconds
    except OSError:  # another process has removed it meanwhile
        return False
