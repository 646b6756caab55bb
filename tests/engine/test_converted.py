"""Converted networks on disk: read back exactly, or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from featurebank.engine.converted import DIRECTORY, load, path_of, save

RECIPE = {"backbone": "0" * 32, "taps": ["pooled", "map:max"], "openvino": "2026.1"}
WEIGHTS = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = path_of(tmp_path, "resnet50", RECIPE)
    save(path, RECIPE, b"<net/>", WEIGHTS)
    return path


def test_reads_what_was_written(path: Path, tmp_path: Path) -> None:
    assert path.parent == tmp_path / DIRECTORY
    found = load(path, RECIPE)
    assert found
    assert found[0] == b"<net/>"
    assert np.array_equal(found[1], WEIGHTS)


def test_another_recipe_is_another_file(path: Path, tmp_path: Path) -> None:
    other = {**RECIPE, "openvino": "2026.2"}
    assert path_of(tmp_path, "resnet50", other) != path
    assert load(path_of(tmp_path, "resnet50", other), other) is None
    assert load(path, other) is None, "a file that was renamed"


def test_any_damage_is_seen(path: Path) -> None:
    """Each byte changed, and each end cut off: what it was, or nothing."""
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        found = load(path, RECIPE)
        refused += found is None
        assert found is None or (found[0] == b"<net/>" and np.array_equal(found[1], WEIGHTS)), place
        path.write_bytes(whole[:place])
        assert load(path, RECIPE) is None, place
    assert refused > len(WEIGHTS)


def test_no_file(tmp_path: Path) -> None:
    assert load(tmp_path / "nothing.npz", RECIPE) is None
    assert load(tmp_path, RECIPE) is None


def test_objects_are_not_unpickled(path: Path) -> None:
    np.savez(path, recipe=np.array([print], object), description=WEIGHTS, weights=WEIGHTS)
    assert load(path, RECIPE) is None


def test_what_nobody_uses_is_removed(path: Path, tmp_path: Path) -> None:
    old = time.time() - 40 * 86400
    used, unused = (path_of(tmp_path, name, RECIPE) for name in ("used", "unused"))
    for one in (used, unused):
        save(one, RECIPE, b"<net/>", WEIGHTS)
    for one in (used, unused):
        os.utime(one, (old, old))
    assert load(used, RECIPE)
    save(path, RECIPE, b"<net/>", WEIGHTS)
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, used.name])
