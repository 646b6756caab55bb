"""An in-memory file that stores only the written pages: the structure of an HDF5 file without its content.

HDF5 (1.14) aborts the process on a full disk. So it never writes to one here: it builds the structure of a file in
memory, some kilobytes, with gaps for the content. Then both are written by plain means, block by block, and the
content need not be in memory twice.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

_PAGE = 4096


class SparseFile(io.RawIOBase):
    """A file for reading and writing at any position; unwritten bytes are zero and take no memory."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._place = self.size = 0

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the file position."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Sets the size; a larger one adds zeros."""
        self.size = self._place if size is None else size
        return self.size

    def readinto(self, buffer: Any) -> int:
        """Reads bytes; unwritten ones are zero."""
        view = memoryview(buffer).cast("B")
        for page, start, here in self._spans(self._place, len(view)):
            stored = self._pages.get(page)
            view[here.start : here.stop] = (
                bytes(len(here)) if stored is None else stored[start : start + len(here)]
            )  # fmt: skip
        self._place += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        """Writes bytes."""
        view = memoryview(data).cast("B")
        for page, start, here in self._spans(self._place, len(view)):
            self._pages.setdefault(page, bytearray(_PAGE))[start : start + len(here)] = view[here.start : here.stop]
        self._place += len(view)
        self.size = max(self.size, self._place if len(view) else 0)
        return len(view)

    def pieces(self, content: Mapping[int, Iterable[np.ndarray]]) -> Iterator[memoryview]:
        """Yields the whole file from its beginning, with the content in its gaps.

        Args:
            content: consecutive arrays, by the offset of the first in bytes.
        """
        done = 0
        for offset in sorted(content):
            yield self._between(done, offset)
            done = offset
            for block in content[offset]:
                if block.size:
                    yield (piece := np.ascontiguousarray(block).data.cast("B"))
                    done += len(piece)
        yield self._between(done, self.size)

    def _between(self, start: int, stop: int) -> memoryview:
        buffer = bytearray(max(0, stop - start))
        self.seek(start)
        self.readinto(buffer)
        return memoryview(buffer)

    @staticmethod
    def _spans(start: int, length: int) -> Iterator[tuple[int, int, range]]:
        """Splits a range of bytes by pages: page number, offset in the page, and the indices within the range."""
        done = 0
        while done < length:
            page, inside = divmod(start + done, _PAGE)
            count = min(_PAGE - inside, length - done)
            yield page, inside, range(done, done + count)
            done += count
