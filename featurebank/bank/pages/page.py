"""One page: a file of columns, written once, named by its checksum and memory-mapped.

The file has NumPy's own format `.npy`, once for each column, one after another, so that `numpy.load` reads the columns
from an open file in turn. The manifest repeats type, length and place of each column, so that a reader maps a column
without parsing the file, and a checksum of each column, so that a reader verifies only the columns that it uses.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.shard import are_counts
from featurebank.errors import BankDamagedError, BankError, BankUnreadableError
from featurebank.system import digest
from featurebank.system.files import atomic_path, open_regular, path_inside

PATTERN = "*-*.page"
"""Pattern of the names of pages."""
_ALIGNED = 64
"""The elements of a column begin at a multiple of this, in bytes."""
_DTYPE = re.compile(r"[<>|=][SUiufb][0-9]{1,7}")
_BLOCK = 1 << 20
_RELEASED = 16 << 20
"""A larger column leaves the memory piece by piece while it is verified."""


@dataclass(frozen=True)
class Column:
    """Location of a column of numbers or strings in a page."""

    dtype: str
    """As numpy writes it: "<i4", "|S32"."""
    rows: int
    offset: int
    """Offset of the first element in the file, in bytes."""
    checksum: str
    """The digest of the column as an array; see `digest.of_array`."""

    def __post_init__(self) -> None:
        """Raises ValueError if the manifest holds something that no writer writes."""
        texts = isinstance(self.dtype, str) and isinstance(self.checksum, str)
        if not (texts and _DTYPE.fullmatch(self.dtype) and are_counts(self.rows, self.offset) and self.itemsize):
            message = "the description of a page's column is not one that featurebank writes"
            raise ValueError(message)

    @property
    def itemsize(self) -> int:
        """Size of an element in bytes."""
        return np.dtype(self.dtype).itemsize

    @property
    def kind(self) -> str:
        """Kind of the elements, as `numpy.dtype.kind`."""
        return np.dtype(self.dtype).kind


@dataclass(frozen=True)
class PageEntry:
    """The manifest's entry for a page."""

    file: str
    bytes: int
    checksum: str
    """Checksum of the whole file."""
    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        """Raises ValueError if the manifest holds something that no writer writes."""
        path_inside(Path(), self.file, PATTERN)
        ends = [column.offset + column.rows * column.itemsize for column in self.columns.values()]
        if not (are_counts(self.bytes) and 0 < max(ends, default=1) <= self.bytes and isinstance(self.checksum, str)):
            message = f"the description of page '{self.file}' is not one that featurebank writes"
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as a JSON object."""
        columns = {name: vars(column).copy() for name, column in self.columns.items()}
        return {"file": self.file, "bytes": self.bytes, "checksum": self.checksum, "columns": columns}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> PageEntry:
        """Reads an object of `to_dict`."""
        columns = {
            name: Column(c["dtype"], c["rows"], c["offset"], c["checksum"]) for name, c in value["columns"].items()
        }
        return cls(value["file"], value["bytes"], value["checksum"], columns)


class Page:
    """The columns of a page, memory-mapped; each is compared with its checksum before its first use.

    The map stays valid after the file was deleted. Threads may share it.

    Args:
        directory: the bank's directory.
        entry: the manifest's entry.
        remedy: what to do if the page is damaged, as the end of a message.

    Raises:
        BankDamagedError: the file is missing or has another size.
        BankUnreadableError: the system cannot read it.
    """

    def __init__(self, directory: Path, entry: PageEntry, remedy: str) -> None:
        self.entry = entry
        self._path, self._remedy = directory / entry.file, remedy
        self._verified: dict[str, np.ndarray] = {}
        try:
            with open_regular(self._path) as file:
                # The size is checked on the open file, because reading a map beyond the end would kill the process.
                if os.fstat(file.fileno()).st_size != entry.bytes:
                    raise damaged(self._path, remedy)
                self._map = mmap.mmap(file.fileno(), entry.bytes, access=mmap.ACCESS_READ)
        except BankError:
            raise
        except (FileNotFoundError, IsADirectoryError) as error:
            raise damaged(self._path, remedy) from error
        except OSError as error:
            raise unreadable(self._path, error) from error

    def __contains__(self, name: str) -> bool:
        return name in self.entry.columns

    def column(self, name: str) -> np.ndarray:
        """Returns a column, (rows,), read-only.

        Raises:
            BankDamagedError: its bytes are not those that were written.
        """
        if name not in self._verified:
            column = self.entry.columns[name]
            values = np.frombuffer(self._map, column.dtype, column.rows, column.offset)
            if digest.of_pieces(self._pieces(values)) != column.checksum:
                raise damaged(self._path, self._remedy)
            self._verified[name] = values
        return self._verified[name]

    def release(self) -> None:
        """Removes what was read from the memory of this process; it is read again when it is used."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _pieces(self, values: np.ndarray) -> Iterator[bytes | memoryview]:
        """Yields what the digest of an array is computed from; a large one is never in memory as a whole."""
        yield digest.array_title(values)
        elements = values.view(np.uint8)
        for place in range(0, len(elements), _RELEASED):
            yield elements[place : place + _RELEASED].data
            if len(elements) > _RELEASED:
                self.release()


def write_page(directory: Path, kind: str, columns: Mapping[str, np.ndarray]) -> PageEntry:
    """Writes a page and returns its entry; the file is synced to the disk before it returns.

    Args:
        directory: the bank's directory.
        kind: the beginning of the file's name.
        columns: (n,) numbers or strings each, in the order of writing.

    Raises:
        DiskFullError: no space is left on the disk; no part of the page remains.
    """
    described: dict[str, Column] = {}
    parts: list[np.ndarray | bytes] = []
    place = 0
    for name, values in columns.items():
        header = _header(values, place)
        offset = place + len(header)
        described[name] = Column(values.dtype.str, len(values), offset, digest.of_array(values))
        parts += [header, values]
        place = offset + values.nbytes
    checksum = digest.of_pieces(_pieces(parts))
    entry = PageEntry(f"{kind}-{checksum[:16]}.page", place, checksum, described)
    with atomic_path(directory / entry.file) as temporary, temporary.open("wb") as out:
        out.writelines(_pieces(parts))
    return entry


def _header(values: np.ndarray, place: int) -> bytes:
    """Returns the header of an `.npy` file, so long that the elements behind it are aligned."""
    text = repr({"descr": values.dtype.str, "fortran_order": False, "shape": values.shape}).encode()
    size = 10 + len(text) + 1
    text += b" " * (-(place + size) % _ALIGNED) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _pieces(parts: list[np.ndarray | bytes]) -> Iterator[bytes | memoryview]:
    for part in parts:
        yield part if isinstance(part, bytes) else np.ascontiguousarray(part).view(np.uint8).data


def is_whole_page(directory: Path, entry: PageEntry) -> bool:
    """Compares every byte of a page with its checksum; returns False also if the file is missing.

    Raises:
        BankUnreadableError: the system cannot read it.
    """
    path = directory / entry.file
    try:
        with open_regular(path) as file:
            return digest.of_pieces(iter(lambda: file.read(_BLOCK), b"")) == entry.checksum
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError as error:
        raise unreadable(path, error) from error


def damaged(path: Path, remedy: str) -> BankDamagedError:
    """Returns the error for a table whose bytes have changed."""
    return BankDamagedError(f"'{path}' is damaged: its bytes are not those that featurebank wrote; {remedy}")


def unreadable(path: Path, error: OSError) -> BankUnreadableError:
    """Returns the error for a table that the system cannot read."""
    message = (
        f"'{path}' cannot be read now: {error.strerror or error}; it may be intact: fix that, then run the same command"
    )
    return BankUnreadableError(message)
