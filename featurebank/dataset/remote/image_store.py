"""Downloaded images, kept on this machine under the digest of their content, so that none is downloaded twice.

They are in `$FEATUREBANK_DOWNLOADS`, else in `downloads` in the user's folder of caches, for all caches of banks. What
is read is compared with its digest, so that a file need not be synced, and a damaged one only costs another download.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from featurebank.dataset.sources.archives import homes
from featurebank.system import digest
from featurebank.system.backing.directories import folders, remove_content
from featurebank.system.backing.temporaries import temporary_path
from featurebank.system.files import read_regular

VARIABLE = "FEATUREBANK_DOWNLOADS"

_FOLDER_DIGITS = 2
_lock = threading.Lock()


def downloads_directory() -> Path:
    """Returns the directory of downloaded images: `$FEATUREBANK_DOWNLOADS`, else one in the user's folder of caches."""
    if place := os.environ.get(VARIABLE):
        return Path(place).expanduser().absolute()
    return homes()[-1] / "downloads"


def keep_image(data: bytes) -> str:
    """Keeps an image and returns its digest; does not keep it if the disk refuses, or has too little space.

    Example:
        >>> keep_image(b"a photo") == digest.of_bytes(b"a photo")
        True
    """
    content = digest.of_bytes(data)
    path = _path(content)
    if not path.exists() and _allowance(downloads_directory()).grant(len(data)):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, data)
    return content


def find_image(content: str) -> bytes | None:
    """Returns the image with a digest; None if it is not kept, or damaged."""
    path = _path(content)
    try:
        data = read_regular(path)
    except OSError:
        return None
    if digest.of_bytes(data) == content:
        return data
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def total_size() -> tuple[int, int]:
    """Returns the number of kept images, and their size in bytes."""
    count = size = 0
    for folder in folders(downloads_directory()):
        with os.scandir(folder) as entries:  # pathlib takes half a minute for a million
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process has deleted it
                    size += entry.stat().st_size
                    count += 1
    return count, size


def forget_images() -> None:
    """Deletes all kept images.

    Raises:
        OSError: one cannot be deleted.
    """
    remove_content(downloads_directory())


def _path(content: str) -> Path:
    return downloads_directory() / content[:_FOLDER_DIGITS] / content


def _write(path: Path, data: bytes) -> None:
    temporary = temporary_path(path.parent)
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass
class _Allowance:
    """The bytes that this process may still keep."""

    left: int

    def grant(self, size: int) -> bool:
        """Returns whether so many bytes may be kept, and subtracts them."""
        with _lock:
            granted = size <= self.left
            self.left -= size * granted
        return granted


@functools.cache
def _allowance(directory: Path) -> _Allowance:
    """Returns what may be kept in a directory: half of the space that is free at first, as in a bucket's mirror."""
    place = next(folder for folder in (directory, *directory.parents) if folder.is_dir())
    return _Allowance(shutil.disk_usage(place).free // 2)
