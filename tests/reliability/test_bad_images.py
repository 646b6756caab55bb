"""What is no image, or too much of one, is named and left out; the rest of its batch is kept, and upright."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from forks import run
from immediate import Immediate
from PIL import Image

from featurebank import extract, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.reader import Bank

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = ROOT.parent / "shared" / "data" / "bad_images"
Start = Callable[..., "subprocess.Popen[str]"]
Ended = Callable[..., tuple[str, str]]


def by_id(bank: Bank) -> dict[str, list[bytes]]:
    features = [bank.features(tap) for tap in bank.taps]
    return {name: [tap[row].tobytes() for tap in features] for row, name in enumerate(bank.ids())}


@pytest.mark.skipif(not AWKWARD.is_dir(), reason=f"the awkward files are not at {AWKWARD}")
def test_awkward_files_from_the_command_line(extracts: Start, ended: Ended, tmp_path: Path) -> None:
    expected = json.loads((AWKWARD / "expected.json").read_text(encoding="utf-8"))
    good = {name for name, what in expected.items() if what == "ok"}
    bad = {name for name, what in expected.items() if what == "bad"}
    done = json.loads(ended(extracts(dataset=AWKWARD))[0])
    assert [entry["id"] for entry in done["skipped"]] == sorted(bad)
    assert all(entry["reason"].strip() and "\n" not in entry["reason"] for entry in done["skipped"])
    found = by_id(Bank(done["bank"]))
    assert set(found) == good
    for name in good:
        (tmp_path / "good" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(AWKWARD / name, tmp_path / "good" / name)
    alone = json.loads(ended(extracts(dataset=tmp_path / "good", cache=tmp_path / "alone"))[0])
    assert by_id(Bank(alone["bank"])) == found
    _, error = ended(extracts("--on-bad-image", "fail", dataset=AWKWARD, cache=tmp_path / "fail"), 1)
    (line,) = (line for line in error.splitlines() if line != "began")
    assert line.startswith("Error: image '")
    assert line.split("'")[1] in bad
    assert "--on-bad-image skip" in line


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured as Linux tells it")
def test_bombs_cost_neither_memory_nor_time(bombs: ModuleType, tmp_path: Path) -> None:
    for name, make in {**bombs.BOMBS, **bombs.HARMLESS}.items():
        (tmp_path / name).write_bytes(make())
    done = run([sys.executable, str(Path(__file__).with_name("bombs.py")), str(tmp_path)])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["grown"] < 50 << 20
    assert told["seconds"] < 2
    assert {name: told["found"][name] for name in bombs.HARMLESS} == {
        "small.png": "(20, 3000, 3)", "small.tif": "(20, 3000, 3)", "tiled.tif": "(10, 10, 3)",
    }, "the same files in small are images"  # fmt: skip
    assert [name for name in bombs.BOMBS if "more than 120 million" not in told["found"][name]] == []


def test_bombs_in_a_batch(
    bombs: ModuleType, photos: Path, lite: Backbone, pixels: list[Any], tmp_path: Path
) -> None:  # fmt: skip
    peace = by_id(extract(load_dataset(str(photos)), lite, cache=tmp_path / "peace", batch_size=5))
    for name in ("square.png", "tile.tif", "frame.gif", "canvas.webp", "claims.jpg"):
        (photos / "bee" / name).write_bytes(bombs.BOMBS[name]())
    bank = extract(load_dataset(str(photos)), lite, cache=tmp_path / "war", batch_size=5)
    assert by_id(bank) == peace
    assert [entry["id"] for entry in bank.skipped] == [
        f"bee/{name}" for name in ("canvas.webp", "claims.jpg", "frame.gif", "square.png", "tile.tif")
    ]
    assert all("a decompression bomb?" in entry["reason"] for entry in bank.skipped)


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.fliplr(np.rot90(a, -1)),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.flipud(np.rot90(a, -1)),
    8: np.rot90,
}
"""What brings the pixels of a file upright, by the orientation in its EXIF."""


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_photos_that_lie_on_their_side_give_the_features_of_upright_ones(
    lite: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str
) -> None:
    class Whole(Immediate):
        name, precision = "whole images", "float32"

        def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
            return {"pooled": images.reshape(len(images), -1).astype(np.float32)}

    monkeypatch.setattr("featurebank.extraction.target.load_engine", lambda *a, **k: Whole())
    random = np.random.default_rng(0)
    for orientation, turn in UPRIGHT.items():
        shown = Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize((61, 47))
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = tmp_path / "photos" / "turned" / f"{orientation}.{suffix}"
        plain = tmp_path / "plain" / f"{orientation}.{suffix}"
        upright = tmp_path / "photos" / "upright" / f"{orientation}.png"
        for path in (turned, plain, upright):
            path.parent.mkdir(parents=True, exist_ok=True)
        options = {"lossless": True} if suffix == "webp" else {}
        shown.save(turned, exif=exif, **options)
        shown.save(plain, **options)
        Image.fromarray(turn(np.asarray(Image.open(plain)))).save(upright)
    bank = extract(load_dataset(str(tmp_path / "photos")), lite, cache=tmp_path / "cache")
    rows = {name: row.tobytes() for name, row in zip(bank.ids(), bank.features(), strict=True)}
    assert len(rows) == 16
    same = [n for n in UPRIGHT if rows[f"turned/{n}.{suffix}"] == rows[f"upright/{n}.png"]]
    assert same == list(UPRIGHT)
    assert len(set(rows.values())) == 8
