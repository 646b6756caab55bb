"""Sends and reads the content of objects, and shows that once it has taken a second: bytes, rate and remaining time."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from featurebank.system.progress import Advance, no_advance, track

SHOWN_AFTER_S = 1.0
_SHOWN_BYTES = 1 << 20
"""A smaller object is never shown: it would only flicker."""
_CHUNK = 1 << 20
_WITH_OWN_ERRORS = {"aiohttp", "botocore"}
"""Packages that have errors of their own for broken connections."""


class Transfer:
    """A context manager that shows the progress of one transfer on this process's reporter.

    Args:
        what: the work, as "sending shard-1f.h5".
        size: its size in bytes.
    """

    def __init__(self, what: str, size: int) -> None:
        self._what, self._size, self._done, self._began = what, size, 0, time.monotonic()
        self._shown = contextlib.ExitStack()
        self._advance: Advance = no_advance

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.close()

    def reach(self, done: int) -> None:
        """Reports that this many bytes are done; fewer than before if a part is sent again."""
        if self._size < _SHOWN_BYTES:
            return
        if self._advance is no_advance and time.monotonic() - self._began > SHOWN_AFTER_S:
            self._advance, self._done = self._shown.enter_context(track(self._what, self._size, "bytes")), 0
        if done > self._done:
            self._advance(done - self._done)
            self._done = done


class SentFile(io.FileIO):
    """A file that reports how much of it is sent; checksums, for which it is read before, do not count.

    Args:
        path: the file.
        transfer: receives the progress.
    """

    def __init__(self, path: Path, transfer: Transfer) -> None:
        super().__init__(path)
        self._transfer = transfer
        self.is_sent = False
        """Whether reading it now is sending it."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads a part, and reports the place after it."""
        data = super().read(-1 if size is None else size) or b""
        if self.is_sent:
            self._transfer.reach(self.tell())
        return data


def mark_sent(request: Any, **about: Any) -> None:
    """Runs when the client sends a request: notes that its file, read for a checksum so far, is sent from now on."""
    body = getattr(request.body, "_raw", request.body)
    if isinstance(body, SentFile):
        body.is_sent = True


async def read_body(body: Any, write: Callable[[bytes], Any], shown: Transfer) -> int:
    """Reads the body of an answer to its end, or until the connection breaks; returns the number of bytes."""
    done = 0
    async with body as stream:
        while data := await _read_chunk(stream):
            write(data)
            done += len(data)
            shown.reach(done)
    return done


async def _read_chunk(stream: Any) -> bytes:
    """Reads the next bytes of a body; empty at its end, and where the connection breaks."""
    try:
        return bytes(await stream.read(_CHUNK))
    except (OSError, TimeoutError):
        return b""
    except Exception as error:
        if not {kind.__module__.partition(".")[0] for kind in type(error).__mro__} & _WITH_OWN_ERRORS:
            raise
        return b""
