"""When each bank of a cache was last used, and by which command: a command without `--bank` takes the last one.

A stamp lies in the cache, `CACHE/.used`, and not in the bank, which reading does not change. Where the cache cannot be
written there are no new stamps, and nothing else is missing.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from featurebank.bank.manifest import MANIFEST
from featurebank.system.sealed_json import read_sealed, write_sealed

DIRECTORY = ".used"


@dataclass(frozen=True)
class Use:
    """The last use of a bank."""

    time: float
    """In Unix seconds."""
    command: str


def note_use(cache: Path, bank: Path, command: str) -> None:
    """Notes that a command has used a bank; of a bank outside of the cache nothing is noted.

    Args:
        cache: the cache.
        bank: the bank's directory.
        command: as "heads".
    """
    if bank.resolve().parent == cache.resolve():
        with contextlib.suppress(OSError):  # a cache that cannot be written, or is full
            write_sealed(_stamp(bank), {"time": time.time(), "command": command})


def last_use(bank: Path) -> Use:
    """Returns the last use of a bank; extraction, which changes its manifest, is one."""
    extracted = Use((bank / MANIFEST).stat().st_mtime, "extract")
    try:
        value = read_sealed(_stamp(bank))
        noted = Use(float(value["time"]), str(value["command"]))
    except (OSError, ValueError, TypeError, KeyError):
        return extracted
    return max(noted, extracted, key=lambda use: use.time)


def forget_use(bank: Path) -> None:
    """Takes the stamp of a bank away that is removed."""
    with contextlib.suppress(OSError):
        _stamp(bank).unlink()


def _stamp(bank: Path) -> Path:
    return bank.parent / DIRECTORY / f"{bank.name}.json"
