"""A checkpoint comes back as it was, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from featurebank.finetuning.checkpoint import Checkpoint, TrainingState


def made() -> Checkpoint:
    state = TrainingState(phase=1, epoch=3, total=1 / 3, best={"value": float("inf")}, history={"loss": [0.1, None]})
    weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 0], np.uint32)]
    weights += [np.full((1,), place, np.float32) for place in range(10)]
    return Checkpoint(state, {"weights": weights, "slots": [], "best": [np.float32(0.1) * np.ones(3, np.float32)]})


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    assert Checkpoint.load(path) is None
    made().save(path)
    found = Checkpoint.load(path)
    assert found is not None
    assert found.state == made().state
    assert found.arrays.keys() == made().arrays.keys()
    for name, expected in made().arrays.items():
        for a, b in zip(found.arrays[name], expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    assert list(tmp_path.iterdir()) == [path]


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    made().save(path)
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="it cannot be read"):
            Checkpoint.load(path)
    for place in range(40, len(data), 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            found = Checkpoint.load(path)
        except ValueError:
            continue
        assert found is not None  # a bit that nothing depends on, as the date of an entry
        assert found.state == made().state
        np.testing.assert_array_equal(found.arrays["weights"][0], made().arrays["weights"][0])


def test_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.checkpoint"
    monkeypatch.setattr("featurebank.finetuning.checkpoint._VERSION", 0)
    made().save(path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="another version"):
        Checkpoint.load(path)
    with np.load(path) as stored:
        assert json.loads(stored["state"].tobytes())["version"] == 0
