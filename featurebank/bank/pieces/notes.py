"""The note of a finished piece: which shards it wrote, and which images it could not use.

A note is written atomically after its shards are on the disk, so a piece with a note is done. Notes may come from a
stranger, like every file of a bank: each value is checked when it is read.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurebank.bank.shard import ShardEntry, are_counts
from featurebank.errors import BankError
from featurebank.system.backing.directories import find, remove, size_of
from featurebank.system.files import path_inside
from featurebank.system.sealed_json import read_sealed, write_sealed

PIECES = ".pieces"
"""Directory of the notes and of the unfinished files of pieces, inside a bank."""

_FORMAT = "featurebank piece"
_VERSION = 1
_KEY = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 64 << 20
"""A note is smaller than this, whatever it lists."""
_MOST_NUMBER = 1e15
_NUMBERS = ("images", "computed", "seconds")
_TEXTS = ("engine", "precision", "machine", "host")


@dataclass(frozen=True)
class SkippedImage:
    """An image that a piece could not use."""

    digest: str
    """The digest of its content."""
    reason: str
    lost: bool = False
    """Whether its file could not be read (otherwise it could not be decoded)."""

    def __post_init__(self) -> None:
        """Raises ValueError if a note holds something that no piece writes."""
        if not (_KEY.fullmatch(self.digest) and isinstance(self.reason, str) and isinstance(self.lost, bool)):
            message = "its list of bad images is not one that featurebank writes"
            raise ValueError(message)


@dataclass(frozen=True)
class PieceNote:
    """The note of a finished piece."""

    key: str
    """Digest of everything that decides the rows of the piece; the name of the note."""
    recipe: str
    """The key of the bank."""
    shards: tuple[ShardEntry, ...] = ()
    skipped: tuple[SkippedImage, ...] = ()
    event: Mapping[str, Any] = field(default_factory=dict)
    """How the rows were computed: images, computed, seconds, engine, precision, machine, host and versions."""

    def __post_init__(self) -> None:
        """Raises ValueError if a note holds something that no piece writes."""
        numbers = [self.event.get(name, 0) for name in _NUMBERS]
        texts = [self.key, self.recipe, *(self.event.get(name) or "" for name in _TEXTS)]
        versions = self.event.get("versions", {})
        fine = (
            all(isinstance(n, int | float) and 0 <= n < _MOST_NUMBER for n in numbers)
            and are_counts(*numbers[:-1])
            and all(isinstance(text, str) for text in texts)
            and isinstance(versions, Mapping)
            and all(isinstance(text, str) for text in versions.values())
        )
        if not fine:
            message = "its description is not one that featurebank writes"
            raise ValueError(message)

    @property
    def files(self) -> set[str]:
        """The names of its shards."""
        return {shard.file for shard in self.shards}

    def path(self, bank: Path) -> Path:
        """Returns the path of the note in a bank's directory."""
        return note_path(bank, self.key)

    def save(self, bank: Path) -> None:
        """Writes the note into a bank's directory, atomically."""
        value = {
            "format": _FORMAT, "format_version": _VERSION, "key": self.key, "recipe": self.recipe,
            "shards": [shard.to_dict() for shard in self.shards],
            "skipped": [{"digest": one.digest, "reason": one.reason, "lost": one.lost} for one in self.skipped],
            "event": dict(self.event),
        }  # fmt: skip
        write_sealed(self.path(bank), value)


def note_path(bank: Path, key: str) -> Path:
    """Returns the path of a note; raises ValueError if the key is not one."""
    if not (isinstance(key, str) and _KEY.fullmatch(key)):
        message = f"{key!r:.80} is not the key of a piece"
        raise ValueError(message)
    return path_inside(bank / PIECES, f"{key}.json")


def read_note(bank: Path, key: str) -> PieceNote | None:
    """Reads the note of a piece; returns None if there is none, or it is not what `PieceNote.save` wrote."""
    with contextlib.suppress(OSError, ValueError):
        return _read(note_path(bank, key))
    return None


def is_done(bank: Path, key: str, recipe: str) -> bool:
    """Returns whether a piece is done: its note is there, and the shards that it names have their sizes.

    Args:
        bank: the bank's directory.
        key: the key of the piece.
        recipe: the bank's key.
    """
    note = read_note(bank, key)
    if note is None or note.recipe != recipe:
        return False
    return all(size_of(bank / shard.file) == shard.bytes for shard in note.shards)


@dataclass(frozen=True)
class Notes:
    """The notes of a bank."""

    notes: tuple[PieceNote, ...] = ()
    problems: tuple[str, ...] = ()
    """One line for each file that looks like a note, and is none of this bank."""

    @property
    def files(self) -> set[str]:
        """The names of all shards of all notes."""
        return {name for note in self.notes for name in note.files}


def read_notes(bank: Path, recipe: str) -> Notes:
    """Reads the notes of a bank, in the order of their keys.

    Args:
        bank: the bank's directory.
        recipe: the bank's key; a note of another one is a problem.
    """
    notes, problems = list[PieceNote](), list[str]()
    for path in note_files(bank):
        try:
            note = _read(path)
            if note.recipe != recipe:
                message = "it belongs to a bank of another recipe"
                raise ValueError(message)
            notes.append(note)
        except FileNotFoundError:  # another process has listed its shards meanwhile
            continue
        except (OSError, ValueError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            problems.append(f"'{path}' is not used: {reason}; 'featurebank cache gc' removes it once it is an hour old")
    return Notes(tuple(notes), tuple(problems))


def note_files(bank: Path) -> Iterator[Path]:
    """Yields the files of a bank's notes, sorted; none if the directory is a link to another place."""
    directory = bank / PIECES
    if not directory.is_symlink():
        yield from (path for path in find(directory, "*.json") if _KEY.fullmatch(path.stem))


def check_place(bank: Path) -> None:
    """Raises BankError if a link or a file stands in the place of the directory of the notes."""
    place = bank / PIECES
    if place.is_symlink():
        message = f"'{place}' is a link to another place, which is not followed: remove the link"
        raise BankError(message)
    if os.path.lexists(place) and not place.is_dir():
        message = f"'{place}' is no directory, and the notes of finished pieces belong there: remove it"
        raise BankError(message)


def remove_notes(bank: Path, notes: Iterable[PieceNote]) -> None:
    """Deletes notes, and their directory if it is empty then."""
    for note in notes:
        remove(note.path(bank))
    remove_if_empty(bank)


def remove_if_empty(bank: Path) -> None:
    """Deletes the directory of the notes if it is empty."""
    with contextlib.suppress(OSError):
        (bank / PIECES).rmdir()


def _read(path: Path) -> PieceNote:
    """Reads a note.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what `PieceNote.save` wrote.
    """
    if size_of(path) > _MOST_BYTES:
        message = f"it is larger than {_MOST_BYTES >> 20} MiB"
        raise ValueError(message)
    value = read_sealed(path)
    try:
        if value["format"] != _FORMAT or value["format_version"] != _VERSION or value["key"] != path.stem:
            message = "it is not the note of a piece, or one of a newer featurebank"
            raise ValueError(message)
        shards = tuple(ShardEntry.from_dict(entry) for entry in value["shards"])
        skipped = tuple(SkippedImage(one["digest"], one["reason"], one["lost"]) for one in value["skipped"])
        return PieceNote(value["key"], value["recipe"], shards, skipped, value["event"])
    except (LookupError, TypeError, AttributeError, BankError) as error:
        message = f"it is not the note of a piece ({' '.join(str(error).split())})"
        raise ValueError(message) from error
