"""Files that are either whole or not there: written beside their place, synced, then renamed.

And the one way to open a file that a user, a table or an archive names: only regular files are opened. A named pipe, a
device or a socket may block for ever or never end.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import io
import json
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.errors import DiskFullError

TEMPORARY_PREFIX = ".writing-"
"""How the name of every unfinished file begins; what carries it may be deleted when no writer is alive."""

MOST_BYTES = 1 << 32
"""What a file may have that is read into memory as a whole, unless the reader expects less."""

_SHOWN = 80
_PLAIN = re.compile(r"[\w .+-]{1,200}")
"""The alphabet of our own names, in any script: no separator of paths, no control character."""


def path_inside(directory: Path, name: object, pattern: str = "*") -> Path:
    """Turns a name that was read from a file into a path directly inside a directory.

    A file may be somebody else's, whatever its checksum says. So no name out of a file becomes a path by other means.

    Args:
        directory: where the file has to be.
        name: what was read.
        pattern: what the name has to look like, as "shard-*.h5".

    Raises:
        ValueError: it is no plain name, or one of another kind.

    Example:
        >>> path_inside(Path("bank"), "shard-1f.h5", "shard-*.h5").as_posix()
        'bank/shard-1f.h5'
        >>> path_inside(Path("bank"), "../victim.txt")
        Traceback (most recent call last):
        ValueError: '../victim.txt' is not the name of a file inside of a directory: expected letters, digits, ...
    """
    if not (isinstance(name, str) and _PLAIN.fullmatch(name) and name.strip(". ")):
        message = (
            f"{_short(name)} is not the name of a file inside of a directory: expected letters, digits, blanks and "
            "'.', '_', '+', '-' alone"
        )
        raise ValueError(message)
    if not fnmatch.fnmatchcase(name, pattern):
        message = f"{_short(name)} is not the name of such a file: expected {pattern}"
        raise ValueError(message)
    return directory / name


def _short(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def open_regular(path: str | os.PathLike[str], most: int | None = None) -> io.BufferedReader:
    """Opens a regular file for reading.

    Args:
        path: the file.
        most: bytes that it may have; None for any number.

    Raises:
        OSError: it is not there, cannot be opened, is larger, or is something else (a pipe, a device, a socket, a
            directory).

    Example:
        >>> open_regular(os.devnull)
        Traceback (most recent call last):
        OSError: [Errno 22] a device, not a regular file: '/dev/null'
    """
    # The first look keeps devices closed that do something when they are opened. The second is at the open handle,
    # since another file may have come to the path meanwhile; a pipe does not block there.
    _check_kind(os.stat(path).st_mode, path)  # noqa: PTH116 - an object a file is too slow for a million of them
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        found = os.fstat(handle)
        _check_kind(found.st_mode, path)
        if most is not None and found.st_size > most:
            raise OSError(errno.EINVAL, f"a file of {found.st_size} bytes, more than {most >> 20} MiB", os.fspath(path))
    except BaseException:
        os.close(handle)
        raise
    return io.BufferedReader(io.FileIO(handle))


def read_regular(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Reads a regular file: as many bytes as it has when it is opened, so that one that grows ends too.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: see `open_regular`.
    """
    with open_regular(path, most) as file:
        return file.read(os.fstat(file.fileno()).st_size) or b""


def _check_kind(mode: int, path: str | os.PathLike[str]) -> None:
    """Raises OSError where a mode is not that of a regular file."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for is_kind, name in kinds if is_kind(mode)), "a device")
    raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fspath(path))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, and renames it to `path` if the block ends well.

    The file is synced before it is renamed and its directory after, so that after a crash or a power cut `path` is
    the old file or the new one, never a part.

    Raises:
        DiskFullError: no space is left; the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        with explain_full_disk(path):
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically, with an indent of one space (readable, and small differences stay small)."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Returns the bytes that `write_json` writes for a value."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sync(path: Path) -> None:
    """Makes a file or a directory durable, where the system can."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a directory; its renames are journalled
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (
            path.is_dir() and error.errno in {errno.EINVAL, errno.ENOTSUP}
        ):  # some network disks have no such thing
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turns "no space left" (or a full quota, or a limit of file size) into one line that says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        message = (
            f"no space is left for '{path}' ({os.strerror(error.errno)}): what was finished before is kept; "
            "free some space (or choose another --cache) and run the same command again"
        )
        raise DiskFullError(message) from error
