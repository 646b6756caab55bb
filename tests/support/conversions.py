"""One conversion of each network a test session: tests that extract take it from a store that all workers share."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.engine import converted
from featurebank.system.files import atomic_path


def copied(source: Path, target: Path) -> None:
    """Copies a file, which appears whole; a test may damage its copy."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def share_conversions(store: Path, patch: pytest.MonkeyPatch) -> None:
    """Fills the cache of a test from the store, and the store from the first test that converts a network.

    Workers that convert a network at the same moment both do; the store has whole files alone, so it needs no lock.

    Args:
        store: directory of the converted networks of all tests.
        patch: to undo it.
    """
    load, save = converted.load, converted.save

    def load_shared(path: Path, recipe: dict[str, Any]) -> tuple[bytes, np.ndarray] | None:
        known = store / path.name
        if known.exists() and not path.exists():
            with contextlib.suppress(OSError):  # a test has filled its disk: it converts, as a user would
                copied(known, path)
        return load(path, recipe)

    def save_shared(path: Path, recipe: dict[str, Any], description: bytes, weights: np.ndarray) -> None:
        save(path, recipe, description, weights)
        copied(path, store / path.name)

    patch.setattr(converted, "load", load_shared)
    patch.setattr(converted, "save", save_shared)
