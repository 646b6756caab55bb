"""A cache of content digests, so that unchanged files are not read again.

A file's digest is stored with its *stamp*: size, time of modification, time of change of the inode, and inode. A file
counts as unchanged while its stamp is the same to the nanosecond. Times of modification can be set back (`touch -r`,
`cp -p`, `rsync -t`), but that itself changes the inode, and only the kernel sets the time of that change. One gap
remains, the granularity of the kernel's clock: a file that changes just before and just after it is read may have the
same time for both changes. So, as in git's index, a digest is only stored if the file had not changed for two seconds
when it was read.

The cache is a file of columns with a checksum. A missing or damaged file, or one of another format, counts as empty.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.dataset.decoding.levels import Levels
from featurebank.dataset.fingerprint import DIGEST_DTYPE, Pixels, Stamp, digest_all
from featurebank.system import digest
from featurebank.system.files import atomic_path, read_regular
from featurebank.system.parallel import ordered_map
from featurebank.system.sealed_json import seal_archive

SETTLED_NS = 2_000_000_000
"""How long a file must not have changed when it is read; FAT has the coarsest clock, of two seconds."""

_FORMAT = "featurebank.fingerprints.1"
_FIELDS = 4
_NEVER = -1  # the stamp of a digest that is not stored
_LARGEST = (1 << 63) - 1
_FIRST = 16
"""The stamps of so many files show how fast their disk or their server is."""
_SLOW = 1e-4  # seconds per file; a local disk takes 3e-6
_MOST_THREADS = 16
_DAY = 86400


def stamp_of(path: str) -> Stamp | None:
    """Returns the stamp of a file: (size, modified, changed, inode), times in nanoseconds.

    Returns:
        None if there is no reliable stamp: the path does not exist or is not a regular file, or on Windows, which does
        not record the time of change.
    """
    if os.name == "nt":
        return None
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib is too slow for a million files
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    # Limited to 63 bits: times beyond the year 2262, which are unreliable, and inodes of network disks.
    modified, changed = min(status.st_mtime_ns, _LARGEST), min(status.st_ctime_ns, _LARGEST)
    return status.st_size, max(modified, -_LARGEST), max(changed, -_LARGEST), status.st_ino & _LARGEST


def digest_changed(
    pixels: Pixels, ids: Sequence[str], file: Path, progress: Callable[[int], None] | None
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Computes the content digests of a dataset, but reads no file that is known to be unchanged.

    New digests are stored even if the work is interrupted. If the cache is not writable, the next run reads the files
    again.

    Args:
        pixels: the source of the images; without a method `stamp`, all of them are digested.
        ids: the id of each image.
        file: path of the cache.
        progress: called from time to time, in this thread, with the number of further images that are done.

    Returns:
        See `digest_all`: (n,) digests of dtype "S32", and (index, reason) of unreadable images.
    """
    stamp = getattr(pixels, "stamp", None)
    if stamp is None:
        return digest_all(pixels, len(ids), progress)
    stored = _Columns.load(file)
    rows = stored.rows(ids)
    stamps = _stamps_of(stamp, rows)
    known = stored.recall(rows, stamps)
    todo = np.flatnonzero(known == b"")
    stamps[todo] = _NEVER
    if progress is not None and len(todo) < len(ids):
        progress(len(ids) - len(todo))
    reading = _Reading(pixels, stamp, todo, stamps, known.copy(), pixels.in_threads)
    try:
        digests, failed = digest_all(reading, len(todo), progress)
    finally:
        _Columns(tuple(ids), reading.stamps, reading.digests).save(file, unless=stored)
    known[todo] = digests
    return known, [(int(todo[place]), why) for place, why in failed]


@dataclass
class _Reading:
    """The images that have to be read, as `Digested`; records the stamps and digests that may be stored."""

    pixels: Pixels
    stamp: Callable[[int], Stamp | None]
    todo: np.ndarray
    stamps: np.ndarray
    digests: np.ndarray
    in_threads: bool

    def digest(self, place: int) -> str:
        index = int(self.todo[place])
        moment = time.time_ns()  # before the first look at the file
        checksum, stamp = self._read(index)
        if stamp is not None and max(stamp[1:3]) < moment - SETTLED_NS:
            self.stamps[index], self.digests[index] = stamp, checksum
        return checksum

    def _read(self, index: int) -> tuple[str, Stamp | None]:
        """Returns the digest of an image, and its stamp if that is certainly the stamp of the same content."""
        versioned: Callable[[int], tuple[str, Stamp | None] | None] | None = getattr(self.pixels, "versioned", None)
        if versioned is not None and (answer := versioned(index)) is not None:
            return answer
        before = self.stamp(index)
        checksum = self.pixels.digest(index)
        return checksum, before if before is not None and self.stamp(index) == before else None

    def image(self, place: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        return self.pixels.image(int(self.todo[place]), expected, levels)


@dataclass(frozen=True)
class _Columns:
    """The content of a cache: ids, (n, 4) int64 stamps and (n,) "S32" digests; -1 and b"" for digests not stored."""

    ids: tuple[str, ...]
    stamps: np.ndarray
    digests: np.ndarray

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Returns the row of each id, (n,) int64; -1 where nothing is stored."""
        if self.ids == tuple(ids):
            rows = np.arange(len(ids))
        else:
            place = {name: row for row, name in enumerate(self.ids)}
            rows = np.fromiter((place.get(name, -1) for name in ids), np.int64, len(ids))
        rows[rows >= 0] = np.where(self.stamps[rows[rows >= 0], 0] == _NEVER, -1, rows[rows >= 0])
        return rows

    def recall(self, rows: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        """Returns the digests of unchanged files, b"" for the others."""
        digests = np.zeros(len(rows), DIGEST_DTYPE)
        here = np.flatnonzero(rows >= 0)
        there = rows[here]
        same = (stamps[here] == self.stamps[there]).all(axis=1)
        digests[here[same]] = self.digests[there[same]]
        return digests

    @classmethod
    def load(cls, file: Path) -> _Columns:
        """Reads a cache; returns an empty one if it is missing or not valid."""
        with contextlib.suppress(Exception):  # numpy, zipfile and the disk raise many types on damaged bytes
            columns = np.load(io.BytesIO(read_regular(file)), allow_pickle=False)
            text, lengths, stamps, digests = (columns[name] for name in ("ids", "lengths", "stamps", "digests"))
            if str(columns["checksum"]) == _checksum(text, lengths, stamps, digests):
                return cls(_apart(text, lengths), stamps, digests)
        return cls((), np.empty((0, _FIELDS), np.int64), np.empty(0, DIGEST_DTYPE))

    def save(self, file: Path, unless: _Columns) -> None:
        """Writes the cache, unless `unless` holds the same; a disk that refuses is ignored."""
        if self.ids == unless.ids and np.array_equal(self.stamps, unless.stamps):
            return
        text, lengths = _together(self.ids)
        columns: dict[str, Any] = {"ids": text, "lengths": lengths, "stamps": self.stamps, "digests": self.digests}
        with contextlib.suppress(OSError), atomic_path(file) as temporary:  # the disk may be full or read-only
            with temporary.open("wb") as out:
                np.savez(out, checksum=np.array(_checksum(*columns.values())), **columns)
            seal_archive(temporary)


def _stamps_of(stamp: Callable[[int], Stamp | None], rows: np.ndarray) -> np.ndarray:
    """Returns the stamps of the images that have a row, (n, 4) int64; in threads if a disk or a server is slow."""
    stamps = np.full((len(rows), _FIELDS), _NEVER, np.int64)
    todo = np.flatnonzero(rows >= 0).tolist()

    def look(start: int, count: int) -> None:
        for index in todo[start : start + count]:
            value = stamp(index)
            if value is not None:
                stamps[index] = value

    began = time.perf_counter()
    look(0, _FIRST)
    if time.perf_counter() - began < _FIRST * _SLOW:
        look(_FIRST, len(todo))
    else:
        rest = range(_FIRST, len(todo), _FIRST)
        deque(ordered_map(lambda start: look(start, _FIRST), rest, name="stamps", count=_MOST_THREADS), maxlen=0)
    return stamps


def _together(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the concatenated ids as UTF-8 bytes, and the length of each in characters."""
    text = np.frombuffer("".join(ids).encode("utf-8", "surrogatepass"), np.uint8)
    return text, np.fromiter(map(len, ids), np.int64, len(ids))


def _apart(text: np.ndarray, lengths: np.ndarray) -> tuple[str, ...]:
    joined = text.tobytes().decode("utf-8", "surrogatepass")
    ends = np.cumsum(lengths).tolist()
    return tuple(joined[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True))


def _checksum(*columns: np.ndarray) -> str:
    return digest.of_recipe([_FORMAT, *map(digest.of_array, columns)])
