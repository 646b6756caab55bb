"""Converted networks on disk, so that the next start needs neither Keras nor TensorFlow.

A file is an uncompressed NPZ of the network's description, its weights and the recipe that it was made by: written
whole or not at all, and with a checksum of every part, which is compared whenever it is read. What does not fit is made
again. Nothing else depends on these files: they may be deleted at any time. Those that were not used for a month are
removed when another one is written.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.system import digest, files
from featurebank.system.sealed_json import is_whole_archive, seal_archive

DIRECTORY = ".engines"
"""Where they lie in the cache."""

_UNUSED_S = 30 * 86400.0


def path_of(cache: Path, name: str, recipe: dict[str, Any]) -> Path:
    """Returns the place of the network that is made by a recipe."""
    return files.path_inside(cache / DIRECTORY, f"{name}-{digest.of_recipe(recipe)[:16]}.npz")


def load(path: Path, recipe: dict[str, Any]) -> tuple[bytes, np.ndarray] | None:
    """Reads a converted network.

    Args:
        path: from `path_of`.
        recipe: what the file must have been made by.

    Returns:
        The description, and the weights as (n,) uint8; None where there is no such file, or it is damaged or another's.
    """
    try:
        if is_whole_archive(path) is False:
            return None
        with path.open("rb") as file, np.load(file) as parts:
            if str(parts["recipe"]) != digest.canonical_json(recipe):
                return None
            description, weights = parts["description"].tobytes(), parts["weights"]
    except Exception:  # noqa: BLE001 - what reads a damaged archive fails in many ways
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(path)
    return description, weights


def save(path: Path, recipe: dict[str, Any], description: bytes, weights: np.ndarray) -> None:
    """Writes a converted network.

    Raises:
        OSError: it cannot be written.
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
    if directory.is_symlink():  # what it leads to may hold other files than ours
        return
    for path in directory.glob("*.npz"):
        with contextlib.suppress(OSError):  # another process removes it too
            if time.time() - path.stat().st_mtime > _UNUSED_S:
                path.unlink()
