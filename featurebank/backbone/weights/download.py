"""Downloads weights files whose names contain the beginning of their SHA-256, like those of PyTorch."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from featurebank.backbone.weights.files import keras_folders
from featurebank.errors import FeatureBankError, WeightsError
from featurebank.system.downloads import download, reason_of
from featurebank.system.files import atomic_path

_MARK = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def fetch(url: str, target: Path) -> str:
    """Downloads a file atomically: the target is the whole file, or stays as it was.

    Args:
        url: address of the file.
        target: path of the file; its name ends in "-HASH.SUFFIX".

    Returns:
        The reason of a failure in one line; empty on success.
    """
    try:
        with atomic_path(target) as temporary:
            download(url, temporary, f"downloading {target.name}")
            if not is_as_named(temporary):
                message = "the received file is not the one of that name: its SHA-256 differs"
                raise ValueError(message)  # so that the file is not moved to the target
    except (OSError, ValueError, FeatureBankError) as error:
        return reason_of(error)
    return ""


def is_as_named(path: Path) -> bool:
    """Returns whether a file exists and its SHA-256 begins as its name states."""
    mark = _MARK.search(path.name)
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return mark is not None and checksum.startswith(mark[1])


def find_published(file: str, site: str, name: str) -> Path:
    """Returns a weights file from the folders of Keras and PyTorch; downloads it if it is missing.

    Args:
        file: its name, which contains the beginning of its SHA-256.
        site: the address before the name.
        name: name of the network, for messages.

    Raises:
        WeightsError: it is missing and cannot be downloaded.
    """
    if (place := _present(file)) is not None:
        return place
    target = keras_folders()[0] / file
    if reason := fetch(f"{site}{file}", target):
        message = (
            f"the ImageNet weights of {name} are missing: '{file}' could not be downloaded ({reason}); download "
            f"{site}{file} and put it at '{target}' or pass it as --weights FILE, or use --weights random:0"
        )
        raise WeightsError(message)
    return target


def is_published(file: str) -> bool:
    """Returns whether a weights file is in the folders of Keras or PyTorch."""
    return _present(file) is not None


def _present(file: str) -> Path | None:
    places = [folder / file for folder in (*keras_folders(), _torch_folder())]
    return next((place for place in places if is_as_named(place)), None)


def _torch_folder() -> Path:
    """Returns the folder of PyTorch's own downloads."""
    home = os.environ.get("TORCH_HOME") or f"{os.environ.get('XDG_CACHE_HOME', '~/.cache')}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"
