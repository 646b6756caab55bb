"""Shows the transfer of a large object once it has taken a second: bytes, rate and remaining time."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import Self

from featurebank.system.progress import Advance, no_advance, track

SHOWN_AFTER_S = 1.0
_SHOWN_BYTES = 1 << 20
"""A smaller object is never shown: it would only flicker."""


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
