"""The interface of a storage behind a local directory, and the registry that finds the storage of a path.

A plain cache has no storage behind it: then `backing_of` returns None, and files are read and written where they are.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from featurebank.errors import StorageError


class Backing(Protocol):
    """A storage that holds the files of a local directory, its mirror.

    A file in the mirror that the storage does not hold is a temporary one or a lock of this machine. All methods take
    paths inside the mirror, and raise OSError (usually StorageError) if the storage does not answer.
    """

    identity: str
    """A text that no other mirror has; it tells processes that share the mirror from others of the same host name."""

    def fetch(self, path: Path) -> bool:
        """Makes the mirror's copy of a file current; removes the copy if the storage does not hold the file.

        Returns:
            Whether the storage holds it.
        """

    def fetch_small(self, paths: Iterable[Path]) -> None:
        """Fetches those of the files that are small, several at once."""

    def publish(self, temporary: Path, path: Path) -> None:
        """Stores the content of a temporary file under the name of `path`, which the caller renames it to.

        Raises:
            ChangedElsewhereError: `path` is pinned, and another process has replaced it.
        """

    def copy(self, source: Path, path: Path) -> None:
        """Stores a second copy of a stored file, without sending its content."""

    def exists(self, path: Path) -> bool:
        """Returns whether the storage holds a file."""

    def refresh(self, directory: Path) -> None:
        """Lists the files below a directory anew."""

    def sizes(self, directory: Path) -> Mapping[Path, int]:
        """Returns the size of each file that the storage holds below a directory, in bytes."""

    def modified(self, path: Path) -> float:
        """Returns the time at which the storage received a file, or the newest file below a folder, in Unix seconds.

        Raises:
            FileNotFoundError: it holds no such file.
        """

    def remove(self, path: Path) -> None:
        """Removes a file from the storage and from the mirror, if it exists."""

    def remove_below(self, directory: Path, keep: Collection[str]) -> None:
        """Removes all files below a directory from the storage, except the entries of it with some names.

        The mirror's copies stay.
        """

    def forget_copy(self, path: Path) -> bool:
        """Deletes the mirror's copy of a file, so that it is fetched anew; returns whether there was one."""

    def note_map(self, path: Path, array: Any) -> None:
        """Notes that an array maps a file into memory; the mirror's copy stays as long as the array."""

    def read(self, path: Path) -> tuple[bytes, str] | None:
        """Reads a file past the mirror; returns its content and version, or None if it does not exist."""

    def replace(self, path: Path, data: bytes, version: str | None) -> str | None:
        """Writes a file past the mirror if it still has a version; None stands for a file that does not exist.

        Returns:
            The new version, or None if the file has another version.
        """

    def discard(self, path: Path, version: str) -> None:
        """Removes a file past the mirror if it still has a version."""

    def pin(self, path: Path) -> None:
        """From now on, `publish` replaces a file only if it is as it is now, or as `publish` left it.

        Files that are read from now on are no older than that.
        """

    def unpin(self, path: Path) -> None:
        """Ends `pin`."""


class ChangedElsewhereError(OSError):
    """A pinned file was replaced by another process."""


MIRROR_MARK = ".mirror"
"""The directory by which a mirror is recognised."""
_DEPTH = 4
"""Files of a cache lie at most this many folders deep."""
_backings: dict[str, Backing] = {}


def register_backing(root: Path, backing: Backing) -> None:
    """Puts a storage behind a local directory for this process."""
    _backings[os.path.abspath(root)] = backing  # noqa: PTH100 - Path.absolute keeps ".."


def backing_of(path: str | os.PathLike[str]) -> Backing | None:
    """Returns the storage behind a path; None for a path on the local disk alone."""
    if not _backings:
        return None
    place = os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."
    for root, backing in _backings.items():
        if place.startswith(root) and place[len(root) :][:1] in {"", os.sep}:
            return backing
    return None


def check_backing(path: Path) -> None:
    """Raises StorageError if a path lies in the mirror of a bucket that this process has not opened.

    A file that is written there would never reach the bucket.
    """
    for place in list(path.parents)[:_DEPTH]:
        if os.path.isdir(place / MIRROR_MARK):  # noqa: PTH112 - pathlib is slow, and this precedes each writing
            message = (
                f"'{place}' is only the mirror of a cache in a bucket: name the bucket, as --cache s3://BUCKET/PREFIX"
            )
            raise StorageError(message)
