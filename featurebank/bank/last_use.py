"""Records when each bank of a cache was last used, and by which command; without `--bank`, commands use the last one.

A stamp lies in `CACHE/.used`, not in the bank, because reading does not change a bank. If the cache is not writable,
there are no new stamps; everything else works.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from featurebank.bank.manifest import MANIFEST
from featurebank.system.backing.directories import modified, remove
from featurebank.system.sealed_json import read_sealed, write_sealed
from featurebank.words import counted

DIRECTORY = ".used"


@dataclass(frozen=True)
class Use:
    """The last use of a bank."""

    time: float
    """Time in Unix seconds."""
    command: str


def note_use(cache: Path, bank: Path, command: str) -> None:
    """Records that a command has used a bank; does nothing for a bank outside the cache.

    Args:
        cache: the cache.
        bank: the bank's directory.
        command: name of the command, as "heads".
    """
    if bank.resolve().parent == cache.resolve():
        with contextlib.suppress(OSError):  # the cache is not writable, or is full
            write_sealed(_stamp(bank), {"time": time.time(), "command": command})


def last_use(bank: Path) -> Use:
    """Returns the last use of a bank; an extraction, which changes the manifest, counts as a use."""
    extracted = Use(modified(bank / MANIFEST), "extract")
    try:
        value = read_sealed(_stamp(bank))
        noted = Use(float(value["time"]), str(value["command"]))
    except (OSError, ValueError, TypeError, KeyError):
        return extracted
    return max(noted, extracted, key=lambda use: use.time)


def choice_reason(bank: Path, name: str | None) -> str:
    """Returns why a bank was chosen, as the end of a sentence: the last use, if no name was given; otherwise "".

    Args:
        bank: the bank's directory.
        name: as the user gave it.
    """
    if name is not None:
        return ""
    use = last_use(bank)
    return f", the last used: by '{use.command}', {_ago(use.time)}"


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{counted(int(seconds // length), unit)} ago"
    return "just now"


def forget_use(bank: Path) -> None:
    """Deletes the stamp of a removed bank."""
    with contextlib.suppress(OSError):
        remove(_stamp(bank))


def _stamp(bank: Path) -> Path:
    return bank.parent / DIRECTORY / f"{bank.name}.json"
