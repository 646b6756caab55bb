"""Maps that a bank lacks are computed by the converted network of its extraction, from the same images alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurebank import extract, load_backbone, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.engine import converted
from featurebank.engine.converted import DIRECTORY
from featurebank.explanation import computed_maps
from featurebank.explanation.computed_maps import maps_of
from featurebank.explanation.heat_maps import heat_maps
from featurebank.system.runtime import threads
from tests.conftest import ROOT

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def lite() -> Backbone:
    return load_backbone("efficientnet_lite0", weights="random:0", image_size=64)


@pytest.fixture
def photos(shown: Path, tmp_path: Path) -> Path:
    """A copy of the photos, which a test may change."""
    return Path(shutil.copytree(shown, tmp_path / "photos"))


@pytest.fixture(scope="module")
def engines(shown: Path, lite: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted network of an extraction of averages."""
    cache = tmp_path_factory.mktemp("engines")
    extract(str(shown), lite, ["pooled"], cache=cache, engine="openvino")
    return cache / DIRECTORY


@pytest.fixture
def averages(photos: Path, lite: Backbone, engines: Path, tmp_path: Path) -> Bank:
    """A bank without maps."""
    shutil.copytree(engines, tmp_path / "cache" / DIRECTORY)
    return extract(str(photos), lite, ["pooled"], cache=tmp_path / "cache", engine="openvino", store="float32")


def test_they_are_the_maps_of_the_network(averages: Bank, photos: Path, lite: Backbone) -> None:
    positions = np.array([3, 40])
    images = [np.asarray(Image.open(photos / name)) for name in averages.ids_at(positions)]
    squares = np.stack([lite.resize(image) for image in images]).astype(np.float32)
    expected = np.asarray(lite.tap_model(["map"])(squares, training=False)["map"])
    for computed, one in zip(maps_of(averages, "map", positions), expected, strict=True):
        assert not isinstance(computed, str)
        assert np.allclose(computed, one, atol=1e-3 * one.max())


def test_few_whole_images_are_in_memory_at_once(averages: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of cameras take 36 MB each, and a report asks for the maps of two dozen."""
    whole: list[weakref.ref[np.ndarray]] = []
    most = 0

    def read(side: int) -> np.ndarray:
        nonlocal most
        image = np.zeros((90, 60, 3), np.uint8)
        whole.append(weakref.ref(image))
        most = max(most, sum(one() is not None for one in whole))
        return image

    monkeypatch.setattr(computed_maps, "picture_sources", lambda bank, positions: [read] * len(positions))
    maps_of(averages, "map", np.arange(40))
    assert len(whole) == 40
    assert most <= threads() + 1


def test_heat_maps_need_no_tensorflow(averages: Bank) -> None:
    run = train_heads(averages, ["ridge"])[0].refit()
    code = (
        "import sys; from featurebank.bank import Bank; from featurebank.runs.selection import find_run\n"
        "from featurebank.explanation.heat_maps import heat_maps; bank = Bank(sys.argv[1])\n"
        "heats = heat_maps(bank, find_run(bank, sys.argv[2]), range(len(bank)), [n % 2 for n in range(len(bank))])\n"
        "print(*{one.shape for one in heats if not isinstance(one, str)})\n"
        "print(*{'tensorflow', 'keras'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code, str(averages.path), run.run]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 2)\n\n"


def test_images_that_are_gone_changed_or_broken_have_reasons(averages: Bank, photos: Path) -> None:
    gone, broken, sound = averages.ids_at([0, 1, 2])
    (photos / gone).unlink()
    (photos / broken).write_bytes(b"no image")
    first, second, third = maps_of(averages, "map", np.arange(3))
    assert (first, second) == ("the file is gone", "the image has changed since its features were computed")
    assert not isinstance(third, str)
    (photos / sound).unlink()
    assert all(isinstance(one, str) for one in maps_of(averages, "map", np.arange(3)))


def test_a_network_that_would_have_to_be_converted_is_not_run(averages: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted, "load", lambda path, recipe: None)
    (reason,) = maps_of(averages, "map", np.array([0]))
    assert reason == (
        "the bank has no 'map', from which heat maps are made: 'featurebank explain' computes it from an image"
    )
    run = train_heads(averages, ["ridge"])[0]
    assert heat_maps(averages, run, [0]) == [reason]


@pytest.mark.parametrize("width", [1280, 64])
def test_a_map_that_is_not_that_of_the_stored_average_is_not_used(
    averages: Bank, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """A bank of a stranger may hold anything under the recipe of a network."""
    monkeypatch.setattr(Bank, "rows", lambda bank, tap, positions, view=0: np.full((len(positions), width), 9.0))
    (reason,) = maps_of(averages, "map", np.array([0]))
    assert "is not the stored one" in str(reason)
