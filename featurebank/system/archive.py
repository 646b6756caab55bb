"""Untrusted ZIP archives and NPZ files, read within bounds: a small file cannot fill the memory or the disk.

The sizes that an archive declares are checked before it is unpacked. An archive cannot understate them: Python's
`zipfile` unpacks no more of a member than its declared size, and then the checksum does not match.
"""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from featurebank.errors import ArchiveError
from featurebank.system.files import open_regular

MOST_MEMBERS = 100_000
FREE_BYTES = 64 << 20
"""Archives that unpack to less than this are not suspicious, however small they are."""
MOST_EXPANSION = 32
"""A larger archive may unpack to this many times its size. Weights hardly compress; a ZIP bomb does so 1000-fold."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError, KeyError)
"""What `zipfile` raises on damaged bytes."""
_ENCRYPTED = 1


class Archive:
    """A ZIP archive whose declared sizes and names have been checked; `open_archive` makes it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = tuple(archive.namelist())
        """Names of the members."""

    def read(self, name: str) -> bytes:
        """Returns the bytes of a member.

        Raises:
            ArchiveError: there is no member of this name, or it is damaged.
        """
        with self._opened(name) as member:
            return bytes(member.read())

    def extract(self, name: str, place: Path) -> Path:
        """Writes a member into a directory, under its own name, and returns the path.

        Raises:
            ArchiveError: see `read`; or the member's name is a path.
        """
        if Path(name).name != name:
            message = f"its member '{name}' is a path: expected a file name"
            raise ArchiveError(message)
        path = place / name
        with path.open("wb") as out, self._opened(name) as member:
            shutil.copyfileobj(member, out, 1 << 20)
        return path

    def verify(self) -> None:
        """Raises ArchiveError unless the checksum of every member matches its bytes."""
        for name in self.names:
            with self._opened(name) as member:
                while member.read(1 << 20):
                    pass

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        if name not in self.names:
            message = f"it has no member '{name}'"
            raise ArchiveError(message)
        try:
            with self._archive.open(name) as member:
                yield member
        except ArchiveError:
            raise
        except _DAMAGE as error:
            message = f"its member '{name}' is damaged ({type(error).__name__})"
            raise ArchiveError(message) from error


@contextlib.contextmanager
def open_archive(source: Path | bytes | BinaryIO, *, allowed: Collection[str] | None = None) -> Iterator[Archive]:
    """Opens a ZIP archive after checking the names and sizes that it declares.

    Args:
        source: a path, the bytes of the archive, or an open file, which stays open.
        allowed: the only names that its members may have; None allows every relative path.

    Raises:
        ArchiveError: the archive is damaged; a name occurs twice, leads outside the archive or is not allowed; a member
            is encrypted or a link; or the members unpack to more than `MOST_EXPANSION` times the archive's size.
        OSError: the file cannot be opened.

    Example:
        >>> with open_archive(Path("flowers.keras")) as archive:
        ...     "config.json" in archive.names
        True
    """
    with contextlib.ExitStack() as stack:
        file = _opened(source, stack)
        size = file.seek(0, io.SEEK_END)
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except _DAMAGE as error:
            message = f"it is not a whole ZIP archive ({type(error).__name__})"
            raise ArchiveError(message) from error
        _check(archive.infolist(), size, allowed)
        yield Archive(archive)


def _opened(source: Path | bytes | BinaryIO, stack: contextlib.ExitStack) -> BinaryIO:
    """Returns the archive as an open file; `stack` closes it unless the caller passed an open file."""
    if isinstance(source, bytes):
        return stack.enter_context(io.BytesIO(source))
    return stack.enter_context(open_regular(source)) if isinstance(source, Path) else source


def read_npz(source: Path | bytes) -> dict[str, Any]:
    """Returns the arrays of an NPZ file by name; arrays of Python objects are refused.

    Raises:
        ArchiveError: the archive is not safe to open (see `open_archive`), or an array is damaged or holds objects.
        OSError: the file cannot be opened.
    """
    with open_archive(source) as archive:
        return {name.removesuffix(".npy"): read_npy(archive.read(name), name) for name in archive.names}


def read_npy(data: bytes, name: str) -> Any:
    """Reads an array from the bytes of an NPY file.

    Args:
        data: the whole file.
        name: the file's name, for the message.

    Raises:
        ArchiveError: the file is damaged, holds Python objects, or its size does not match its shape.
    """
    from numpy.lib import format as npy

    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
            message = "it holds Python objects" if dtype.hasobject else "its size does not match its shape"
            raise ArchiveError(message)
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
    except Exception as error:  # numpy evaluates the header as a literal, which fails in many ways
        reason = str(error) if isinstance(error, ArchiveError) else type(error).__name__
        message = f"its array '{name}' cannot be read ({reason})"
        raise ArchiveError(message) from error


def _check(members: list[zipfile.ZipInfo], size: int, allowed: Collection[str] | None) -> None:
    """Raises ArchiveError if the declared names and sizes of an archive of `size` bytes are not safe."""
    names = [member.filename for member in members]
    links = [member.filename for member in members if stat.S_ISLNK(member.external_attr >> 16)]
    total = sum(member.file_size for member in members)
    problems = [
        (len(names) > MOST_MEMBERS, f"it has {len(names)} members, expected at most {MOST_MEMBERS}"),
        (len(set(names)) < len(names), "two of its members have the same name"),
        *((not _is_inside(name), f"its member '{name}' leads outside the archive") for name in names),
        *((allowed is not None and name not in allowed, f"its member '{name}' is not expected") for name in names),
        *((member.flag_bits & _ENCRYPTED, f"its member '{member.filename}' is encrypted") for member in members),
        *((True, f"its member '{name}' is a link") for name in links),
        (sum(member.compress_size for member in members) > size, "its members overlap"),
        (
            total > max(FREE_BYTES, MOST_EXPANSION * size),
            f"its {size:,} bytes unpack to {total:,}, more than {MOST_EXPANSION} times its size",
        ),
    ]  # fmt: skip
    for holds, message in problems:
        if holds:
            raise ArchiveError(message)


def _is_inside(name: str) -> bool:
    """Returns whether a member's name is a relative path without '..', on every operating system."""
    return bool(name) and not set(name) & set("\\:\0") and ".." not in name.split("/") and not name.startswith("/")
