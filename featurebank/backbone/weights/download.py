"""Downloads weights files whose names carry the beginning of their SHA-256, as those of PyTorch do."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from featurebank.backbone.weights.files import first_line
from featurebank.errors import FeatureBankError
from featurebank.system.files import atomic_path
from featurebank.system.progress import DownloadBar

_SECONDS_WITHOUT_ANSWER = 20.0
_CHUNK = 1 << 16
_MARK = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def fetch(url: str, target: Path) -> str:
    """Downloads a file; its place holds the whole file or what it held before.

    Args:
        url: where it lies.
        target: where it goes; its name ends in "-HASH.SUFFIX".

    Returns:
        Why it did not work, in one line; empty if it did.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would tell the hash of every file
    try:
        with atomic_path(target) as temporary, DownloadBar(f"downloading {target.name}") as bar:
            pooch.retrieve(
                url,
                known_hash=None,
                fname=temporary.name,
                path=temporary.parent,
                downloader=pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=_SECONDS_WITHOUT_ANSWER),
            )
            if not is_as_named(temporary):
                message = "what came is not the file of that name: its SHA-256 is another"
                raise ValueError(message)  # so that it is not put in place
    except (OSError, ValueError, FeatureBankError) as error:
        return first_line(error)
    return ""


def is_as_named(path: Path) -> bool:
    """Tells whether a file is there and its SHA-256 begins as its name says."""
    mark = _MARK.search(path.name)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return mark is not None and found.startswith(mark[1])
