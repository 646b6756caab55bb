"""Computes the content digests of many images: in threads, in order, with a bounded amount of work in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from featurebank.dataset.decoding.decode import Facts
from featurebank.dataset.decoding.levels import Levels
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import threads

DIGEST_DTYPE = np.dtype("S32")

Stamp = tuple[int, int, int, int]
"""Proof that a file has not changed; see `featurebank.dataset.fingerprint_cache`."""

_CHUNK = 256
_MOST_THREADS = 32
_FIRST, _SLOW_S = 8, 0.01
"""If the first images take longer each, in seconds, they come from a server or a slow disk: what waits is done by many
threads, in parts of this size, so that progress shows."""
_Part = tuple[list[bytes], list[tuple[int, str]]]


class Pixels(Protocol):
    """The source of a dataset's pixels.

    If images are files, a further method `stamp(index) -> Stamp | None` allows caching their digests: it returns
    `fingerprint_cache.stamp_of(path)` of the same file that `digest` would read, or None if the digest has to be
    computed each time. Without the method, as for arrays, every digest is computed each time.

    Images that another process cannot read by their specification have a method `cut(indices) -> Pixels`, which returns
    some of them; see `featurebank.dataset.cutting`. The others have the attribute `spec`.

    Images behind URLs have a method `versioned(index) -> (digest, stamp)`, which downloads one; the stamp is that of
    the same answer of the server, or None. The method returns None for an image that is a file.

    Files have a method `path(index) -> str`, arrays the attribute `in_memory = True`: notebooks show thumbnails of
    these two alone.
    """

    in_threads: bool
    """Whether digests wait for a disk, so that threads help."""

    def digest(self, index: int) -> str:
        """Returns the content digest of an image; raises OSError if it cannot be read."""

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns (height, width, 3) uint8; raises BadImageError, also if the digest is not the expected one."""

    def image_with_digest(self, index: int, levels: Levels | None = None) -> tuple[np.ndarray, bytes]:
        """Returns an image with its content digest, and reads its bytes once; raises BadImageError like `image`."""

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns the properties of an image, after decoding it fully; raises BadImageError like `image`."""


class RedirectedPixels(Pixels):
    """Pixels that other sources hold; a subclass defines where each image is."""

    def at(self, index: int) -> tuple[Pixels, int]:
        """Returns the source of an image, and its index there."""
        raise NotImplementedError

    def stamp(self, index: int) -> Stamp | None:
        """Returns the stamp of a file; None if its digest cannot be cached."""
        pixels, place = self.at(index)
        stamp = getattr(pixels, "stamp", None)
        return stamp(place) if stamp else None

    def versioned(self, index: int) -> tuple[str, Stamp | None] | None:
        """Returns the digest of an image behind a URL with its stamp; None for another image."""
        pixels, place = self.at(index)
        versioned = getattr(pixels, "versioned", None)
        return versioned(place) if versioned else None

    def digest(self, index: int) -> str:
        """Returns the content digest of an image; raises OSError if it cannot be read."""
        pixels, place = self.at(index)
        return pixels.digest(place)

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns (height, width, 3) uint8; raises BadImageError."""
        pixels, place = self.at(index)
        return pixels.image(place, expected, levels)

    def image_with_digest(self, index: int, levels: Levels | None = None) -> tuple[np.ndarray, bytes]:
        """Returns an image with its content digest; raises BadImageError."""
        pixels, place = self.at(index)
        return pixels.image_with_digest(place, levels)

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns the properties of an image; raises BadImageError."""
        pixels, place = self.at(index)
        return pixels.facts(place, expected, levels)


class Digested(Protocol):
    """The part of `Pixels` that computing digests needs."""

    in_threads: bool

    def digest(self, index: int) -> str:
        """Returns the content digest of an image; raises OSError if it cannot be read."""


def digest_all(
    pixels: Digested, count: int, progress: Callable[[int], None] | None
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Computes the content digests of a dataset.

    Args:
        pixels: the source of the images.
        count: number of images.
        progress: called from time to time, in this thread, with the number of further images that are done.

    Returns:
        (count,) digests of dtype "S32", b"" for unreadable images, and the (index, reason) of these.
    """
    digests = np.zeros(count, DIGEST_DTYPE)
    failures: list[tuple[int, str]] = []
    done = 0
    for part, failed in _parts(pixels, count):
        digests[done : done + len(part)] = part
        failures += failed
        done += len(part)
        if progress is not None:
            progress(len(part))
    return digests, failures


def reason(error: OSError) -> str:
    """Returns a short phrase that says why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "a directory, not a file"
    if error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__.lower()  # an error without a number is our own: its text is a reason


def _part(pixels: Digested, start: int, stop: int) -> _Part:
    digests: list[bytes] = []
    failed: list[tuple[int, str]] = []
    for index in range(start, stop):
        try:
            digests.append(pixels.digest(index).encode())
        except OSError as error:
            digests.append(b"")
            failed.append((index, reason(error)))
    return digests, failed


def _parts(pixels: Digested, count: int) -> Iterator[_Part]:
    if not pixels.in_threads:
        yield from (_part(pixels, *span) for span in _spans(0, count, _CHUNK))
        return
    first = min(_FIRST, count)
    began = time.perf_counter()
    part = _part(pixels, 0, first)
    if time.perf_counter() - began > first * _SLOW_S:
        size, workers = _FIRST, _MOST_THREADS
    else:
        size, workers = _CHUNK, min(_MOST_THREADS, 2 * threads())  # half of the time they wait for the disk
    yield part
    spans = _spans(first, count, size)
    yield from ordered_map(lambda span: _part(pixels, *span), spans, name="fingerprint", count=workers)


def _spans(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + size, stop)) for begin in range(start, stop, size)]
