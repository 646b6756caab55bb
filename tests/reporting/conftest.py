"""What tests of the report share: a bank of painted photos with trained heads, made once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from immediate import PixelEngine
from PIL import Image

from featurebank import extract, load_backbone, load_dataset, train_heads
from featurebank.bank import Bank

CLASSES = {"<script>alert('x')": (200, 40, 40), "blue & \u202egreen": (40, 80, 200), "🌻" * 40: (210, 190, 40)}
"""Class names that no page may take for its own text, with a colour each."""
EACH, MOVED = 40, 6
HEADS = [
    {"kind": "ridge", "alpha": [1.0, 100.0, 1e6], "standardize": [False, True]},
    {"kind": "knn", "n_neighbors": [1, 5]},
    {"kind": "nearest_mean"},
]


@pytest.fixture(autouse=True)
def no_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests draw no map by UMAP, wherever it is installed: it compiles for ten seconds in each process."""
    monkeypatch.setattr("featurebank.reporting.sections.drawings.has_umap", lambda: False)


def save_photos(root: Path) -> Path:
    """Photos of one colour a class, with noise; some photos of the first class are among those of the second."""
    random = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        folder = root / name[:30]
        folder.mkdir(parents=True)
        for number in range(EACH):
            pixels = np.clip(np.array(colour) + random.normal(0, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number} 'quoted'.png")
    first, second = (root / name[:30] for name in list(CLASSES)[:2])
    for number in range(MOVED):
        shutil.move(first / f"{number} 'quoted'.png", second / f"moved {number}.png")
    return root


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the bank of painted photos, with the runs of `HEADS`, and the photos in `photos`."""
    place = tmp_path_factory.mktemp("painted")
    root = save_photos(place / "photos")
    backbone = load_backbone("efficientnet_lite0", weights="random:0", image_size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurebank.extraction.target.load_engine", lambda _, __, taps, **more: PixelEngine(taps))
        bank = extract(load_dataset(str(root), split=(0.6, 0.2, 0.2)), backbone, cache=place)
    train_heads(bank, HEADS)
    return place


@pytest.fixture(scope="session")
def painted_bank(painted: Path) -> Bank:
    """The bank of painted photos."""
    (path,) = (path.parent for path in painted.glob("*/manifest.json"))
    return Bank(path)


@pytest.fixture
def copied_bank(painted_bank: Bank, tmp_path: Path) -> Callable[[], Bank]:
    """Copies the bank with its runs, for tests that change it."""

    def copied() -> Bank:
        shutil.copytree(painted_bank.path, tmp_path / painted_bank.name)
        return Bank(tmp_path / painted_bank.name)

    return copied
