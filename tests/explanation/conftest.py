"""A bank of photos whose class is the colour of one patch, its runs, and a network that is built in no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import extract, load_backbone, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.runs.run import RunRecord

COLOURS = {"ant": (230, 40, 40), "bee": (40, 60, 230), "cow": (40, 210, 60)}
SIZE = 28


def photo_with_patch(label: str, corner: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Returns a grey photo (28, 28, 3) uint8 with a coloured patch of 8 pixels at a corner (upper, left)."""
    image = np.random.default_rng(seed).integers(110, 140, (SIZE, SIZE, 3)).astype(np.uint8)
    upper, left = corner
    image[upper : upper + 8, left : left + 8] = COLOURS[label]
    return image


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explanation")


@pytest.fixture(scope="session")
def shown(place: Path) -> Path:
    """The folder of the photos, not to be changed: training has never seen a cow."""
    random = np.random.default_rng(0)
    for number in range(48):
        split, label = ("train", "val")[number >= 32], ("ant", "bee")[number % 2]
        if number == 47:
            label = "cow"
        corner = (int(random.integers(0, 20)), int(random.integers(0, 20)))
        path = place / "photos" / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo_with_patch(label, corner, number)).save(path)
    return place / "photos"


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    return load_backbone("tiny:colours")


@pytest.fixture(scope="session")
def bank(place: Path, shown: Path, tiny: Backbone) -> Bank:
    """With its maps, their maxima, and the output of the layer "cut"."""
    taps = ["pooled", "map", "cut", "map:max"]
    return extract(load_dataset(str(shown)), tiny, taps, cache=place / "cache", store="float32")


@pytest.fixture(scope="session")
def poor_bank(place: Path, shown: Path, tiny: Backbone) -> Bank:
    """Without maps."""
    return extract(load_dataset(str(shown)), tiny, ["pooled"], cache=place / "poor", store="float32")


@pytest.fixture(scope="session")
def run_of(bank: Bank) -> Callable[..., RunRecord]:
    """Trains one head on a bank, once, keeps its weights, and returns its run."""
    known: dict[str, RunRecord] = {}

    def train(kind: str, tap: str = "pooled", *, on: Bank = bank, **params: Any) -> RunRecord:
        key = repr((kind, tap, on.path, params))
        if key not in known:
            known[key] = train_heads(on, [{"kind": kind, **params}], taps=[tap])[0].refit()
        return known[key]

    return train


@pytest.fixture
def patch() -> Callable[..., np.ndarray]:
    """A function that makes a photo with a patch."""
    return photo_with_patch
