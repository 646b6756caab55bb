"""A bank of small photos of three classes, one of which training has never seen, and its runs."""

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


def save_photos(root: Path) -> None:
    """40 photos: ants are reddish, bees bluish, and one cow is in val alone."""
    random = np.random.default_rng(0)
    for number in range(40):
        split, label = ("train", "val")[number >= 24], ("ant", "bee")[number % 2]
        if number == 39:
            label = "cow"
        coarse = random.integers(0, 256, (4, 5, 3)) // np.array([1, 2, 3] if label == "ant" else [3, 2, 1])
        path = root / split / label / f"{number}.{('png', 'jpg')[number % 3 == 0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse.astype(np.uint8)).resize((40, 50), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grafting")


@pytest.fixture(scope="session")
def shown(place: Path) -> Path:
    """The folder of the photos; not to be changed."""
    save_photos(place / "photos")
    return place / "photos"


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A network that is built, saved and read in no time."""
    return load_backbone("tiny:network")


@pytest.fixture(scope="session")
def bank(place: Path, shown: Path, tiny: Backbone) -> Bank:
    return extract(load_dataset(str(shown)), tiny, ["pooled"], cache=place / "cache")


@pytest.fixture(scope="session")
def lite_bank(place: Path, shown: Path, lite: Backbone) -> Bank:
    return extract(load_dataset(str(shown)), lite, ["pooled"], cache=place / "cache", store="float32")


@pytest.fixture
def run_of(bank: Bank) -> Callable[..., RunRecord]:
    """Trains one head on the bank, and returns its run."""

    def train(kind: str, tap: str = "pooled", **params: Any) -> RunRecord:
        return train_heads(bank, [{"kind": kind, **params}], taps=[tap])[0]

    return train


@pytest.fixture
def images_for(shown: Path) -> Callable[[Backbone], np.ndarray]:
    """A function that gives six of the photos at a network's size."""

    def load(backbone: Backbone) -> np.ndarray:
        paths = sorted(shown.glob("train/*/*"))[:6]
        return np.stack([backbone.resize(np.asarray(Image.open(path).convert("RGB"))) for path in paths])

    return load
