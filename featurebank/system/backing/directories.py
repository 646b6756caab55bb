"""Lists, looks up, removes and copies the files of a cache, on the local disk or in the storage behind it.

Whoever handles files of a cache does so here and in `system/files.py` only: a file that is deleted or listed past these
functions would still be in the bucket, or would not be seen there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from featurebank.system.backing.protocol import backing_of
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX
from featurebank.system.files import atomic_path


def find(directory: Path, pattern: str) -> list[Path]:
    """Returns the files and folders below a directory that match a pattern, sorted; small files are fetched, too.

    As in a shell, a name that begins with a dot has to be asked for: the temporary files of a killed process, as
    `.writing-…-run.json`, are not among the files that `*.json` finds.

    Args:
        directory: the directory; it need not exist.
        pattern: a glob pattern with a fixed number of parts, as "*.json" or "*/manifest.json".

    Example:
        >>> [path.name for path in find(Path("cache/photos"), "manifest.*")]
        ['manifest.json']
    """
    backing = backing_of(directory)
    if backing is None or TEMPORARY_PREFIX in pattern:  # a temporary file is on this machine alone
        return sorted(path for path in directory.glob(pattern) if _may_match(path.name, pattern))
    files = [path for path in backing.sizes(directory) if _matches(path.relative_to(directory), pattern)]
    backing.fetch_small(files)
    return sorted(files)


def _may_match(name: str, pattern: str) -> bool:
    return not name.startswith(".") or pattern.rpartition("/")[2].startswith(".")


def _matches(path: Path, pattern: str) -> bool:
    parts = pattern.split("/")
    matches = len(parts) == len(path.parts) and all(map(fnmatchcase, path.parts, parts))
    return matches and _may_match(path.name, pattern)


def is_file(path: Path) -> bool:
    """Returns whether a file exists; its content need not be on this machine."""
    backing = backing_of(path)
    return path.is_file() if backing is None else backing.exists(path)


def refresh(directory: Path) -> None:
    """Asks the storage behind a directory once for all files that are looked up one by one in the next moment."""
    if (backing := backing_of(directory)) is not None:
        backing.refresh(directory)


def below(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yields every file below a directory with its size in bytes."""
    backing = backing_of(directory)
    if backing is not None:
        yield from backing.sizes(directory).items()
        return
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a writer may rename its files meanwhile
            if path.is_file():
                yield path, path.stat().st_size


def size_of(path: Path) -> int:
    """Returns the size of a file in bytes, of a symbolic link its own; 0 if it does not exist, or for a folder."""
    backing = backing_of(path)
    with contextlib.suppress(OSError):
        if backing is not None and not path.is_file():
            return backing.sizes(path.parent).get(path, 0)
        return path.lstat().st_size if path.is_file() or path.is_symlink() else 0
    return 0


def modified(path: Path) -> float:
    """Returns the time of the last change of a file, or of the newest file below a folder in a storage; Unix seconds.

    Raises:
        FileNotFoundError: it does not exist.
    """
    backing = backing_of(path)
    if backing is None or path.is_file():
        return path.stat().st_mtime
    return backing.modified(path)


def folders(directory: Path) -> list[Path]:
    """Returns the folders directly inside a directory, sorted."""
    if (backing := backing_of(directory)) is not None:
        files = (path.relative_to(directory).parts for path in backing.sizes(directory))
        return [directory / name for name in sorted({parts[0] for parts in files if len(parts) > 1})]
    return sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []


def entries(directory: Path) -> set[Path]:
    """Returns the files and folders directly inside a directory."""
    here = set(directory.iterdir()) if directory.is_dir() else set()
    if (backing := backing_of(directory)) is not None:
        here |= {directory / path.relative_to(directory).parts[0] for path in backing.sizes(directory)}
    return here


def remove(path: Path) -> None:
    """Deletes a file, if it exists; of a symbolic link, the link."""
    backing = backing_of(path)
    if backing is not None:
        backing.remove(path)
    else:
        path.unlink(missing_ok=True)


def remove_content(directory: Path, keep: Collection[str] = ()) -> None:
    """Deletes what a directory contains, except the entries with some names; of a symbolic link, the link."""
    if (backing := backing_of(directory)) is not None:
        backing.remove_below(directory, keep)
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in keep:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path)


def forget_copy(path: Path) -> bool:
    """Deletes the local copy of a file that a storage holds; returns whether it has, so that reading it again helps."""
    backing = backing_of(path)
    return backing is not None and backing.forget_copy(path)


def link_or_copy(source: Path, path: Path) -> None:
    """Puts a file at a second path: by a hard link where the disk has those, in a storage by its own copy.

    Raises:
        FileNotFoundError: the file has gone.
        DiskFullError: no space is left on the disk for a copy.
    """
    backing = backing_of(path)
    if backing is not None and backing_of(source) is backing:
        backing.copy(source, path)
        return
    with atomic_path(path) as temporary:
        try:
            os.link(source.resolve(), temporary)  # not a link to a link, which may be relative
        except (OSError, NotImplementedError):
            shutil.copyfile(source, temporary)
