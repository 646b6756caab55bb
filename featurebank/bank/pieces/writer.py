"""Writes the rows of pieces: the shards of a piece at once, when its last row has come, and then its note."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.index import Finder
from featurebank.bank.locks.writer_lock import explain_read_only
from featurebank.bank.pieces.notes import PIECES, PieceNote, SkippedImage
from featurebank.bank.pieces.waiting_rows import WaitingRows, as_stored
from featurebank.bank.shard import ShardEntry, write_shard
from featurebank.system.digest import distinct


@dataclass(frozen=True)
class PieceContents:
    """What a piece consists of, in one bank."""

    key: str
    """The key of its note."""
    groups: Sequence[np.ndarray]
    """The content digests of the images of each view and set of taps: (n,) "S32" each, sorted."""


@dataclass
class _Open:
    """A piece whose rows are coming."""

    contents: PieceContents
    left: int
    """The number of rows that have not come yet."""
    images: np.ndarray
    """The content digests of its images, (n,) "S32"."""
    rows: dict[tuple[tuple[str, ...], int], WaitingRows] = field(default_factory=dict)
    skipped: list[SkippedImage] = field(default_factory=list)
    computed: int = 0


class PieceWriter:
    """Takes the rows of pieces of one bank, in any order, and writes each piece when it is whole.

    It needs no lock: the shards are named by their content, and the next process that holds the lock lists them. The
    rows of a piece are sorted by digest in their shards, so that the same rows give the same files on every machine.
    Several threads may call it.

    Args:
        path: the bank's directory.
        recipe: the bank's key.
        pieces: the pieces; no image is in two of them.
        about: returns how the rows are computed, for the notes; see `PieceNote.event`.
    """

    def __init__(
        self, path: Path, recipe: str, pieces: Sequence[PieceContents], about: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.path = path
        self.notes: list[PieceNote] = []
        """The notes of the pieces that have been written."""
        self._recipe, self._about = recipe, about
        images = [_distinct(piece.groups) for piece in pieces]
        self._open = {
            number: _Open(piece, sum(map(len, piece.groups)), digests)
            for number, (piece, digests) in enumerate(zip(pieces, images, strict=True))
        }
        self._finder = Finder(np.concatenate([np.empty(0, "S32"), *images]))
        self._numbers = np.repeat(np.arange(len(pieces)), [len(digests) for digests in images])
        self._since = time.monotonic()
        self._lock = threading.RLock()

    def append(
        self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray], dtypes: Mapping[str, str | None]
    ) -> None:
        """Adds rows of its pieces; see `BankWriter.append`.

        Raises:
            FeatureRangeError: a feature is NaN, infinite or out of float16's range.
            DiskFullError: no space is left on the disk for a shard.
        """
        converted = {tap: as_stored(tap, block, dtypes[tap], ids) for tap, block in taps.items()}
        numbers = self._numbers_of(keys["digest"])
        with self._lock:
            for number in np.unique(numbers).tolist():
                piece = self._open[number]
                for view in np.unique(keys["view"][numbers == number]).tolist():
                    here = (numbers == number) & (keys["view"] == view)
                    rows = piece.rows.setdefault((tuple(sorted(taps)), view), WaitingRows())
                    rows.add(keys[here], {tap: block[here] for tap, block in converted.items()})
                    piece.left -= int(here.sum())
                    piece.computed += int(here.sum())
                self._write_if_whole(number)

    def skip(self, image: SkippedImage) -> None:
        """Records that an image cannot be used, so that none of its rows will come."""
        digest = np.array([image.digest], "S32")
        with self._lock:
            if self._finder.find(digest)[0] < 0:  # of another bank's piece
                return
            number = int(self._numbers_of(digest)[0])
            piece = self._open[number]
            piece.skipped.append(image)
            piece.left -= sum(bool((group == digest[0]).any()) for group in piece.contents.groups)
            self._write_if_whole(number)

    def _numbers_of(self, digests: np.ndarray) -> np.ndarray:
        """Returns the number of the piece of each image: (n,) int64."""
        numbers: np.ndarray = self._numbers[self._finder.find(digests)]
        return numbers

    def _write_if_whole(self, number: int) -> None:
        if self._open[number].left:
            return
        with explain_read_only(self.path):
            self._write(self._open.pop(number))

    def _write(self, piece: _Open) -> None:
        shards = tuple(self._shard(piece.rows.pop(key)) for key in sorted(piece.rows))
        now = time.monotonic()
        event = {
            **self._about(), "images": len(piece.images) - len(piece.skipped), "computed": piece.computed,
            "seconds": round(now - self._since, 3),
        }  # fmt: skip
        self._since = now
        note = PieceNote(piece.contents.key, self._recipe, shards, tuple(piece.skipped), event)
        note.save(self.path)
        self.notes.append(note)

    def _shard(self, rows: WaitingRows) -> ShardEntry:
        keys, blocks = np.concatenate(rows.keys), rows.blocks
        if (keys["digest"][1:] < keys["digest"][:-1]).any():
            order = np.argsort(keys["digest"], kind="stable")
            keys, blocks = keys[order], {tap: [np.concatenate(parts)[order]] for tap, parts in blocks.items()}
        return write_shard(self.path, keys, blocks, temporaries=self.path / PIECES)


def _distinct(groups: Sequence[np.ndarray]) -> np.ndarray:
    return distinct(np.concatenate([np.empty(0, "S32"), *groups]))
