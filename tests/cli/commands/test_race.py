"""`featurebank race`: its tables, its JSON and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from contestants import images
from PIL import Image

LITE = "efficientnet_lite0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (pixels, label) in enumerate(zip(*images(240), strict=True)):
        path = tmp_path / "photos" / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)).save(path)
    return tmp_path / "photos"


def test_a_race_on_the_terminal_and_as_json(
    folder: Path, contestants: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    grid = tmp_path / "grid.toml"
    grid.write_text('[[head]]\nkind = "nearest_mean"\n')
    names = [f"{LITE}@random:{noise}@32px" for noise in (1, 30)]
    words = ("--cache", tmp_path / "cache", "race", folder, "--grid", grid, *(f"--backbone={name}" for name in names))
    out, _ = run_command(words, monkeypatch, capsys)
    for what in ("LOO acc", "LogME", "leaves", f"winner: {names[0]}", "95 % interval", "image passes", "finetune"):
        assert what in out
    assert out.index("LOO acc") < out.index("winner")
    value = json.loads(run_command((*words, "--json"), monkeypatch, capsys)[0])
    assert value["winner"] == names[0]
    assert Path(value["bank"]).name in {Path(bank).name for bank in value["banks"]}
    assert value["interval"]["low"] <= value["interval"]["corrected"] <= value["interval"]["high"]


def test_one_backbone_is_no_race(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, errors = run_command(("race", folder, "--backbone", f"{LITE}@random:0"), monkeypatch, capsys, code=1)
    assert "would race: expected at least two" in errors
