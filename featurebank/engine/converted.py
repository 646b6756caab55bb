"""Converted networks on disk, so that the next start needs neither Keras nor TensorFlow.

A file is an uncompressed NPZ with the network's description, its weights and its recipe. It is written atomically, with
a checksum over all bytes that is verified at every reading; a file that does not match is converted anew. Nothing else
depends on these files, so they may be deleted at any time. Writing one removes those that were not used for a month.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.system import digest, files
from featurebank.system.backing.directories import find, modified, remove
from featurebank.system.sealed_json import is_whole_archive, seal_archive

DIRECTORY = ".engines"
"""Their directory inside the cache."""

_UNUSED_S = 30 * 86400.0


def path_of(cache: Path, name: str, recipe: dict[str, Any]) -> Path:
    """Returns the path of the converted network for a recipe."""
    return files.path_inside(cache / DIRECTORY, f"{name}-{digest.of_recipe(recipe)[:16]}.npz")


def load(path: Path, recipe: dict[str, Any]) -> tuple[bytes, np.ndarray] | None:
    """Reads a converted network.

    Args:
        path: from `path_of`.
        recipe: the recipe that the file has to hold.

    Returns:
        The description, and the weights as (n,) uint8; None if the file is missing, damaged or of another recipe.
    """
    try:
        if is_whole_archive(path) is False:
            return None
        with path.open("rb") as file, np.load(file) as parts:
            if str(parts["recipe"]) != digest.canonical_json(recipe):
                return None
            description, weights = parts["description"].tobytes(), parts["weights"]
    except Exception:  # noqa: BLE001 - reading a damaged archive fails in many ways
        return None
    with contextlib.suppress(OSError):  # the cache is read-only
        os.utime(path)
    return description, weights


def save(path: Path, recipe: dict[str, Any], description: bytes, weights: np.ndarray) -> None:
    """Writes a converted network.

    Raises:
        OSError: the file cannot be written.
    """
    with files.atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.savez(
                file,
                recipe=np.array(digest.canonical_json(recipe)),
                description=np.frombuffer(description, np.uint8),
                weights=weights,
            )
        seal_archive(temporary)
    _remove_unused(path.parent)


def _remove_unused(directory: Path) -> None:
    if directory.is_symlink():  # its target may hold foreign files
        return
    for path in find(directory, "*.npz"):
        with contextlib.suppress(OSError):  # another process removes it too
            if time.time() - modified(path) > _UNUSED_S:
                remove(path)
