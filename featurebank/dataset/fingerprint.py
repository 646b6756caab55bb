"""Content digests of many images: in threads, in order, and with a bounded amount of work in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from featurebank.dataset.decoding.decode import Facts
from featurebank.dataset.decoding.levels import Levels
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import threads

DIGEST_DTYPE = np.dtype("S32")

Stamp = tuple[int, int, int, int]
"""What tells that a file has not changed; see `featurebank.dataset.fingerprint_cache`."""

_CHUNK = 256
_MOST_THREADS = 32
_Part = tuple[list[bytes], list[tuple[int, str]]]


class Pixels(Protocol):
    """Where the pixels of a dataset come from.

    Where images are files, a method `stamp(index) -> Stamp | None` beside these lets their digests be remembered: it
    returns `memory.stamp_of(path)` of the very file that `digest` would read, or None where the digest has to be
    computed each time. Without the method, as in arrays, all of them are.
    """

    in_threads: bool
    """Whether digests wait for a disk, so that threads help."""

    def digest(self, index: int) -> str:
        """Returns the content digest of an image; raises OSError where it cannot be read."""

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns (height, width, 3) uint8; raises BadImageError, also if the content has not the digest expected."""

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns what an image is, decoded fully all the same; raises BadImageError as `image` does."""


class Digested(Protocol):
    """The part of `Pixels` that digests are computed from."""

    in_threads: bool

    def digest(self, index: int) -> str:
        """Returns the content digest of an image; raises OSError where it cannot be read."""


def digest_all(
    pixels: Digested, count: int, progress: Callable[[int], None] | None
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Computes the content digests of a dataset.

    Args:
        pixels: where the images come from.
        count: how many there are.
        progress: called now and then, in this thread, with how many more are done.

    Returns:
        (count,) digests of dtype "S32" with b"" where the content could not be read, and the (index, reason) of these.
    """
    digests = np.zeros(count, DIGEST_DTYPE)
    failures: list[tuple[int, str]] = []
    done = 0
    for found, failed in _parts(pixels, count):
        digests[done : done + len(found)] = found
        failures += failed
        done += len(found)
        if progress is not None:
            progress(len(found))
    return digests, failures


def reason(error: OSError) -> str:
    """Says in a short phrase why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "a directory, not a file"
    if error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__.lower()  # without a number it is our own, and a reason already


def _part(pixels: Digested, start: int, stop: int) -> _Part:
    found: list[bytes] = []
    failed: list[tuple[int, str]] = []
    for index in range(start, stop):
        try:
            found.append(pixels.digest(index).encode())
        except OSError as error:
            found.append(b"")
            failed.append((index, reason(error)))
    return found, failed


def _parts(pixels: Digested, count: int) -> Iterator[_Part]:
    spans = [(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    if not pixels.in_threads:
        yield from (_part(pixels, *span) for span in spans)
        return
    count = min(_MOST_THREADS, 2 * threads())  # they wait for the disk half of the time
    yield from ordered_map(lambda span: _part(pixels, *span), spans, name="fingerprint", count=count)
