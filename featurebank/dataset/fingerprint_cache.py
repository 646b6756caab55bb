"""A memory of content digests, so that files that have not changed are not read again.

A file's digest is remembered with its *stamp*: size, time of modification, time of change of the inode, and inode. The
file is taken for unchanged while the stamp is the same to the nanosecond. Times of modification can be set back
(`touch -r`, `cp -p`, `rsync -t`), but that is itself a change of the inode, whose time only the kernel sets. One gap is
left, the granularity of the kernel's clock: a file changed just before and just after it was read may have one time for
both. So, as in git's index, a digest is only remembered if the file had been left alone for two seconds when it was
read.

The memory is a file of columns with a checksum. One that is missing, damaged or of another format is as good as empty.
"""

from __future__ import annotations

import contextlib
import glob
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
from featurebank.system.files import TEMPORARY_PREFIX, atomic_path, read_regular
from featurebank.system.parallel import ordered_map
from featurebank.system.sealed_json import seal_archive

SETTLED_NS = 2_000_000_000
"""How long a file has to have been left alone when it is read; FAT has the coarsest clock, of two seconds."""

_FORMAT = "featurebank.fingerprints.1"
_FIELDS = 4
_NEVER = -1  # the stamp of what is not remembered
_LARGEST = (1 << 63) - 1
_CHUNK = 256
_SLOW = 1e-4  # seconds a file; a disk of this machine takes 3e-6
_MOST_THREADS = 16
_DAY = 86400


def stamp_of(path: str) -> Stamp | None:
    """Returns the stamp of a file: (size, modified, changed, inode), times in nanoseconds.

    Returns:
        None where there is none that could be relied on: nothing there, not a regular file, or Windows, which keeps no
        time of change.
    """
    if os.name == "nt":
        return None
    try:
        status = os.stat(path)  # noqa: PTH116 - an object a file is too slow for a million of them
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    # Kept to 63 bits: years beyond 2262, which are no time to rely on, and inodes of network disks.
    modified, changed = min(status.st_mtime_ns, _LARGEST), min(status.st_ctime_ns, _LARGEST)
    return status.st_size, max(modified, -_LARGEST), max(changed, -_LARGEST), status.st_ino & _LARGEST


def digest_changed(
    pixels: Pixels, ids: Sequence[str], file: Path, progress: Callable[[int], None] | None
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Computes the content digests of a dataset, but reads no file that is known to be unchanged.

    What was read is remembered even where the work is interrupted. Where the memory cannot be written, the next run
    reads the files again.

    Args:
        pixels: where the images come from; without a method `stamp` all of them are digested.
        ids: the id of each image.
        file: the memory.
        progress: called now and then, in this thread, with how many more are done.

    Returns:
        As `digest_all`: (n,) digests of dtype "S32", and (index, reason) of what could not be read.
    """
    stamp = getattr(pixels, "stamp", None)
    if stamp is None:
        return digest_all(pixels, len(ids), progress)
    stored = _Columns.load(file)
    stamps = _all_stamps(stamp, len(ids))
    known = stored.recall(ids, stamps)
    todo = np.flatnonzero(known == b"")
    stamps[todo] = _NEVER
    if progress is not None and len(todo) < len(ids):
        progress(len(ids) - len(todo))
    reading = _Reading(pixels, stamp, todo, stamps, known.copy(), pixels.in_threads)
    try:
        found, failed = digest_all(reading, len(todo), progress)
    finally:
        _Columns(tuple(ids), reading.stamps, reading.digests).save(file, unless=stored)
    known[todo] = found
    return known, [(int(todo[place]), why) for place, why in failed]


@dataclass
class _Reading:
    """The images that have to be read, as `Pixels`; notes the stamp and the digest of each that may be remembered."""

    pixels: Pixels
    stamp: Callable[[int], Stamp | None]
    todo: np.ndarray
    stamps: np.ndarray
    digests: np.ndarray
    in_threads: bool

    def digest(self, place: int) -> str:
        index = int(self.todo[place])
        moment = time.time_ns()  # before the first look at the file
        before = self.stamp(index)
        found = self.pixels.digest(index)
        if before is not None and max(before[1:3]) < moment - SETTLED_NS and self.stamp(index) == before:
            self.stamps[index], self.digests[index] = before, found
        return found

    def image(self, place: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        return self.pixels.image(int(self.todo[place]), expected, levels)


@dataclass(frozen=True)
class _Columns:
    """What a memory holds: ids, (n, 4) int64 stamps and (n,) "S32" digests; -1 and b"" for what is not remembered."""

    ids: tuple[str, ...]
    stamps: np.ndarray
    digests: np.ndarray

    def recall(self, ids: Sequence[str], stamps: np.ndarray) -> np.ndarray:
        """Returns the digests of the files that are as they were, b"" for the others."""
        found = np.zeros(len(ids), DIGEST_DTYPE)
        if self.ids == tuple(ids):
            here = there = np.arange(len(ids))
        else:
            place = {name: row for row, name in enumerate(self.ids)}
            rows = np.fromiter((place.get(name, -1) for name in ids), np.int64, len(ids))
            here = np.flatnonzero(rows >= 0)
            there = rows[here]
        same = (stamps[here] == self.stamps[there]).all(axis=1) & (stamps[here, 0] != _NEVER)
        found[here[same]] = self.digests[there[same]]
        return found

    @classmethod
    def load(cls, file: Path) -> _Columns:
        """Reads a memory; an empty one where there is none, or none that can be relied on."""
        with contextlib.suppress(Exception):  # whatever numpy, zipfile and the disk raise on damaged or foreign bytes
            columns = np.load(io.BytesIO(read_regular(file)), allow_pickle=False)
            text, lengths, stamps, digests = (columns[name] for name in ("ids", "lengths", "stamps", "digests"))
            if str(columns["checksum"]) == _checksum(text, lengths, stamps, digests):
                return cls(_apart(text, lengths), stamps, digests)
        return cls((), np.empty((0, _FIELDS), np.int64), np.empty(0, DIGEST_DTYPE))

    def save(self, file: Path, unless: _Columns) -> None:
        """Writes the memory, unless another holds the same or the disk does not take it."""
        if self.ids == unless.ids and np.array_equal(self.stamps, unless.stamps):
            return
        text, lengths = _together(self.ids)
        columns: dict[str, Any] = {"ids": text, "lengths": lengths, "stamps": self.stamps, "digests": self.digests}
        with contextlib.suppress(OSError):  # a cache that is full, or for reading only
            with atomic_path(file) as temporary:
                with temporary.open("wb") as out:
                    np.savez(out, checksum=np.array(_checksum(*columns.values())), **columns)
                seal_archive(temporary)
            for left in file.parent.glob(f"{TEMPORARY_PREFIX}*-{glob.escape(file.name)}"):  # by a process that died
                if time.time() - left.stat().st_mtime > _DAY:
                    left.unlink()


def _all_stamps(stamp: Callable[[int], Stamp | None], count: int) -> np.ndarray:
    """Returns the stamp of every image, (n, 4) int64, in threads where a far disk is slow to answer."""
    stamps = np.full((count, _FIELDS), _NEVER, np.int64)

    def look(start: int) -> None:
        for index in range(start, min(start + _CHUNK, count)):
            found = stamp(index)
            if found is not None:
                stamps[index] = found

    began = time.perf_counter()
    look(0)
    rest = range(_CHUNK, count, _CHUNK)
    if time.perf_counter() - began < _CHUNK * _SLOW:
        for start in rest:
            look(start)
    else:
        deque(ordered_map(look, rest, name="stamps", count=_MOST_THREADS), maxlen=0)
    return stamps


def _together(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids as UTF-8 bytes one after another, and the length of each in characters."""
    text = np.frombuffer("".join(ids).encode("utf-8", "surrogatepass"), np.uint8)
    return text, np.fromiter(map(len, ids), np.int64, len(ids))


def _apart(text: np.ndarray, lengths: np.ndarray) -> tuple[str, ...]:
    joined = text.tobytes().decode("utf-8", "surrogatepass")
    ends = np.cumsum(lengths).tolist()
    return tuple(joined[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True))


def _checksum(*columns: np.ndarray) -> str:
    return digest.of_recipe([_FORMAT, *map(digest.of_array, columns)])
