"""Atomic writing of files: written under a temporary name, synced, then renamed, so that a file is whole or absent.

Also the one way to open a file that a user, a table or an archive names: only regular files are opened, because a named
pipe, a device or a socket may block for ever or never end.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from featurebank.errors import ConfigError, DiskFullError
from featurebank.system.backing.protocol import Backing, backing_of, check_backing
from featurebank.system.backing.temporaries import temporary_path

if TYPE_CHECKING:
    import numpy as np

MOST_BYTES = 1 << 32
"""Default limit in bytes for a file that is read into memory as a whole."""

_EVICTIONS = 20
"""A file may be evicted so often between its arrival and its use: several processes may share a small mirror."""
_Result = TypeVar("_Result")

_SHOWN = 80
_PLAIN = re.compile(r"[\w .+-]{1,200}")
"""The characters of featurebank's own file names, in any script: no path separators, no control characters."""


def path_inside(directory: Path, name: object, pattern: str = "*") -> Path:
    """Turns a name that was read from a file into a path directly inside a directory.

    The file may come from a stranger, whatever its checksum says. So every name in a file becomes a path only here.

    Args:
        directory: the directory that has to hold the file.
        name: the value that was read.
        pattern: the glob pattern that the name has to match, as "shard-*.h5".

    Raises:
        ValueError: the value is not a plain file name, or does not match the pattern.

    Example:
        >>> path_inside(Path("bank"), "shard-1f.h5", "shard-*.h5").as_posix()
        'bank/shard-1f.h5'
        >>> path_inside(Path("bank"), "../victim.txt")
        Traceback (most recent call last):
        ValueError: '../victim.txt' is not a plain file name: expected only letters, digits, blanks and ...
    """
    if not (isinstance(name, str) and _PLAIN.fullmatch(name) and name.strip(". ")):
        message = (
            f"{_short(name)} is not a plain file name: expected only letters, digits, blanks and '.', '_', '+', '-'"
        )
        raise ValueError(message)
    if not fnmatch.fnmatchcase(name, pattern):
        message = f"{_short(name)} is not an expected file name: expected {pattern}"
        raise ValueError(message)
    return directory / name


def _short(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def open_regular(path: str | os.PathLike[str], most: int | None = None) -> io.BufferedReader:
    """Opens a regular file for reading; a file of a cache in a bucket is fetched first.

    Args:
        path: the file.
        most: the largest size in bytes; None for no limit.

    Raises:
        OSError: it does not exist, cannot be opened, is larger than `most`, or is not a regular file (a pipe, a device,
            a socket, a directory).

    Example:
        >>> open_regular(os.devnull)
        Traceback (most recent call last):
        OSError: [Errno 22] a device, not a regular file: '/dev/null'
    """
    if (backing := backing_of(path)) is None:
        return _open_regular(path, most)
    return _fetched(backing, Path(path), lambda: _open_regular(path, most))


def _fetched(backing: Backing, path: Path, use: Callable[[], _Result]) -> _Result:
    """Fetches a file and uses it; fetches it again if another process evicts it before it is used."""
    for _ in range(_EVICTIONS):
        is_stored = backing.fetch(path)
        try:
            return use()
        except FileNotFoundError:
            if not is_stored:
                raise
    return use()


def _open_regular(path: str | os.PathLike[str], most: int | None) -> io.BufferedReader:
    # The first check avoids opening a device that acts when it is opened. The second checks the open handle, because
    # another file may have replaced the path meanwhile; O_NONBLOCK keeps a pipe from blocking.
    _check_kind(os.stat(path).st_mode, path)  # noqa: PTH116 - pathlib is too slow for a million files
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        facts = os.fstat(handle)
        _check_kind(facts.st_mode, path)
        if most is not None and facts.st_size > most:
            raise OSError(errno.EINVAL, f"a file of {facts.st_size} bytes, more than {most >> 20} MiB", os.fspath(path))
    except BaseException:
        os.close(handle)
        raise
    return io.BufferedReader(io.FileIO(handle))


def read_regular(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Reads a regular file up to the size that it had when it was opened, so that reading a growing file ends.

    Args:
        path: the file.
        most: the largest size in bytes.

    Raises:
        OSError: see `open_regular`.
    """
    with open_regular(path, most) as file:
        return file.read(os.fstat(file.fileno()).st_size) or b""


def map_array(path: Path, dtype: str, offset: int, shape: Sequence[int]) -> np.ndarray:
    """Maps a part of a file into memory: a read-only array of the shape; the file is fetched first, as to open it.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is too short.
    """
    import numpy as np

    if (backing := backing_of(path)) is None:
        return np.memmap(path, dtype, "r", offset, tuple(shape))
    array = _fetched(backing, path, lambda: np.memmap(path, dtype, "r", offset, tuple(shape)))
    backing.note_map(path, array)
    return array


def _check_kind(mode: int, path: str | os.PathLike[str]) -> None:
    """Raises OSError unless the mode is that of a regular file."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for is_kind, name in kinds if is_kind(mode)), "a device")
    raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fspath(path))


PAGES = (".html", ".htm")
"""The suffixes of pages, in lower case."""


def check_output(path: str | os.PathLike[str], *, force: bool = False, suffixes: Sequence[str] = ()) -> Path:
    """Returns the path of a file to write, after checking all that can be checked before the work.

    Args:
        path: the file.
        force: whether an existing file may be replaced.
        suffixes: the suffixes that it may have, in lower case; empty for any.

    Raises:
        ConfigError: the suffix is another one, the folder does not exist or cannot be written, the path is not a
            regular file (a folder, a pipe, a device), or the file exists.

    Example:
        >>> check_output("missing/page.html")
        Traceback (most recent call last):
        featurebank.errors.ConfigError: cannot write 'missing/page.html': there is no folder 'missing'; create it, ...
    """
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        message = f"cannot write '{path}': expected a name that ends with {' or '.join(suffixes)}"
        raise ConfigError(message)
    if not target.parent.is_dir():
        message = f"cannot write '{path}': there is no folder '{target.parent}'; create it, or choose another path"
        raise ConfigError(message)
    try:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
        _check_kind(mode, path)
    except IsADirectoryError:
        problem = "it is a folder"
    except OSError as error:  # also of a name that is too long
        problem = f"it is {error.strerror}" if error.errno == errno.EINVAL else str(error.strerror)
    else:
        problem = "" if os.access(target.parent, os.W_OK) else f"the folder '{target.parent}' is read-only"
    if problem:
        message = f"cannot write '{path}': {problem}; choose another path"
        raise ConfigError(message)
    if os.path.lexists(target) and not force:  # also a link to nothing
        message = f"'{path}' exists: choose another path, or replace it with --force (in Python, force=True)"
        raise ConfigError(message)
    return target


@contextlib.contextmanager
def atomic_path(path: Path, temporaries: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path, and renames it to `path` if the block succeeds.

    The file is synced before the rename and its directory after it. So after a crash or a power cut, `path` is the old
    file or the new one, never a part of it. If a bucket holds the files of the directory, it receives the file whole
    before the rename: a file that has its final name is stored there.

    Args:
        path: the file to write.
        temporaries: the directory of the temporary file, on the same disk; None means that of `path`.

    Raises:
        DiskFullError: no space is left on the disk; the temporary file is removed.
        StorageError: the bucket has not received the file; the temporary file is removed.

    Example:
        >>> with atomic_path(Path("report.txt")) as temporary:
        ...     _ = temporary.write_text("done")
        >>> Path("report.txt").read_text()
        'done'
    """
    if (backing := backing_of(path)) is None:
        check_backing(path)
    place = temporaries or path.parent
    place.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(place, path.name)
    try:
        with explain_full_disk(path):
            yield temporary
            sync(temporary)
            if backing is not None:
                backing.publish(temporary, path)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically, indented by one space (readable, and its diffs stay small)."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Returns the bytes that `write_json` writes for a value."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sync(path: Path) -> None:
    """Syncs a file or a directory to the disk, where the operating system can."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a directory; it journals renames itself
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (
            path.is_dir() and error.errno in {errno.EINVAL, errno.ENOTSUP}
        ):  # some network disks cannot sync a directory
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turns "no space left" (or a full quota, a size limit) into one line that names the path and a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        message = (
            f"no space is left for '{path}' ({os.strerror(error.errno)}): everything finished so far is kept; "
            "free some space (or write to another disk) and run the same command again"
        )
        raise DiskFullError(message) from error
