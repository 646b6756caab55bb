"""`extract --dry-run`: rows, bytes and seconds, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from immediate import Immediate

from featurebank import load_dataset
from featurebank.backbone import Backbone
from featurebank.errors import ConfigError
from featurebank.extraction import ExtractOptions, run_extraction, stage
from featurebank.extraction import estimate as module
from featurebank.extraction.estimate import estimate_extractions

pytestmark = pytest.mark.heavy


class Clock:
    """Seconds that pass by work alone, whatever else the machine does."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


clock = Clock()


class Steady(Immediate):
    """Twenty milliseconds an image."""

    name, precision = "steady", "float32"

    def __init__(self, taps: Any) -> None:
        self.taps = taps

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        clock.work(0.02 * len(images))
        flat = images.reshape(len(images), -1)[:, :64].astype(np.float32)
        return {tap: flat if tap == "pooled" else flat.reshape(-1, 4, 4, 4) for tap in self.taps}


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, backbone: Backbone, taps: Any, **options: Any) -> Steady:
        clock.work(0.3)
        return Steady(taps)

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)
    monkeypatch.setattr(module, "load_engine", load)
    monkeypatch.setattr(module, "CALIBRATION_S", 0.5)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(stage, "time", clock)


def test_right_within_a_quarter(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    dataset = load_dataset(str(photos))
    options = ExtractOptions(taps=("pooled", "map"), batch_size=4, views=2, augment="flip")
    (found,) = estimate_extractions(dataset, [lite], options, cache=tmp_path / "cache")
    assert (found.images, found.rows, found.engine) == (24, 72, "steady")
    assert found.bytes == 72 * (64 * 4 + 64 * 2), "vectors as float32, maps as float16"
    assert not list((tmp_path / "cache").glob("*px-*")), "nothing is written"
    done = run_extraction(dataset, lite, options, cache=tmp_path / "cache")
    assert found.seconds == pytest.approx(done.seconds, rel=0.25)
    assert found.bank == done.bank.path
    assert sum(done.bank.tap_bytes(tap) for tap in done.bank.taps) == found.bytes


def test_only_what_is_missing_here_and_elsewhere(photos: Path, lite: Backbone, tmp_path: Path, photo: Any) -> None:
    run_extraction(load_dataset(str(photos)), lite, ExtractOptions(), cache=tmp_path / "cache")
    other = shutil.copytree(photos, tmp_path / "other")
    (found,) = estimate_extractions(load_dataset(str(other)), [lite], ExtractOptions(), cache=tmp_path / "cache")
    assert (found.rows, found.bytes, found.seconds, found.engine) == (0, 0, 0.0, None), "another bank has them all"
    photo(other / "ant" / "new.png", 903)
    (found,) = estimate_extractions(load_dataset(str(other)), [lite], ExtractOptions(), cache=tmp_path / "cache")
    assert (found.images, found.rows, found.bytes) == (25, 1, 256)


def test_bytes_are_of_the_type_in_the_bank(photos: Path, lite: Backbone, tmp_path: Path, photo: Any) -> None:
    half = ExtractOptions(taps=("pooled", "map"), store="float16")
    run_extraction(load_dataset(str(photos)), lite, half, cache=tmp_path / "cache")
    photo(photos / "ant" / "new.png", 903)
    (found,) = estimate_extractions(load_dataset(str(photos)), [lite], ExtractOptions(), cache=tmp_path / "cache")
    assert found.rows == 1
    assert found.bytes == (64 + 64) * 2, "a new image gets all taps of the bank, as they are stored"


def test_what_extraction_refuses_a_dry_run_refuses(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    run_extraction(load_dataset(str(photos)), lite, ExtractOptions(), cache=tmp_path / "cache")
    for do in (run_extraction, lambda data, one, *rest, **more: estimate_extractions(data, [one], *rest, **more)):
        with pytest.raises(ConfigError, match="stored as float32 in this bank, but --store is float16"):
            do(load_dataset(str(photos)), lite, ExtractOptions(store="float16"), cache=tmp_path / "cache")


def test_wrong_options_are_told_before_anything_is_loaded(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 0"):
        estimate_extractions(load_dataset(str(photos)), [lite], ExtractOptions(batch_size=0), cache=tmp_path)
