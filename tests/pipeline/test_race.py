"""`[race]` in a pipeline file: its winner goes through the other stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contestants import images
from PIL import Image

import featurebank as fb
from featurebank.errors import ConfigError
from featurebank.pipeline import plan_variants
from featurebank.pipeline.variants import variants_from_file

pytestmark = pytest.mark.heavy

LITE = "efficientnet_lite0"
NAMES = [f"{LITE}@random:1", f"{LITE}@random:30"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (pixels, label) in enumerate(zip(*images(240), strict=True)):
        path = tmp_path / "photos" / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(np.repeat(pixels, 4, axis=0), 4, axis=1)).save(path)
    return tmp_path


def write(folder: Path, more: str = "", extract: str = "image_size = 32") -> Path:
    (folder / "grid.toml").write_text('[[head]]\nkind = "nearest_mean"\n')
    path = folder / "race.toml"
    path.write_text(
        f"[dataset]\nname = {str(folder / 'photos')!r}\n[extract]\n{extract}\n"
        f'[heads]\ngrid = "grid.toml"\n[race]\nbackbones = {NAMES}\n{more}'
    )
    return path


def test_the_winner_goes_through_the_other_stages(folder: Path, contestants: list[str]) -> None:
    path = write(folder, "[select]\ntest = true\n")
    result = fb.run_pipeline(path, cache=folder / "cache")
    assert result.race is not None
    assert result.race.winner == NAMES[0]
    assert result.race.bank is not None
    assert result.extraction.bank.path == result.race.bank.path
    assert result.chosen.metrics["test"]["accuracy"] > 0.9
    contestants.clear()
    assert fb.run_pipeline(path, cache=folder / "cache").chosen.run == result.chosen.run
    assert not contestants, "a second run computes nothing"


def test_the_plan_of_a_race_names_its_backbones(folder: Path) -> None:
    (plan,) = plan_variants(variants_from_file(write(folder)), cache=folder / "cache")
    assert plan["race"] == {"backbones": NAMES}
    assert plan["extract"]["missing"] == 240


@pytest.mark.parametrize(
    ("more", "extract", "expected"),
    [
        ("", f"backbone = {LITE!r}", "'extract.backbone' and [race] exclude each other"),
        ("share = 2\n", "", "'race.share' is 2: expected a number above 0, 1 at most"),
        ("shares = 0.1\n", "", "race.shares"),
    ],
)
def test_a_wrong_race_is_refused_before_anything_starts(folder: Path, more: str, extract: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        variants_from_file(write(folder, more, extract))
    assert expected in str(caught.value)


def test_a_file_without_any_network_is_refused(folder: Path) -> None:
    path = folder / "none.toml"
    path.write_text('dataset.name = "digits"\n[extract]\nimage_size = 32\n')
    with pytest.raises(ConfigError, match=r"'extract\.backbone' is missing"):
        fb.read_pipeline(path)


def test_all_unknown_backbones_are_named_at_once(folder: Path) -> None:
    path = write(folder)
    path.write_text(path.read_text().replace(f"{LITE}@random:1", "nope").replace(f"{LITE}@random:30", "nada"))
    with pytest.raises(ConfigError) as caught:
        fb.run_pipeline(path, cache=folder / "cache")
    assert "'nope'" in str(caught.value)
    assert "'nada'" in str(caught.value)
