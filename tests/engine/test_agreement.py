"""Engines give the same features: on photos, and on made images where there are no photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_networks import small

from featurebank import list_backbones, load_backbone
from featurebank.backbone import Backbone
from featurebank.dataset.decoding.decode import decode
from featurebank.engine.catalog import load_engine
from tests.conftest import ROOT
from tests.engine.conftest import difference, images

pytestmark = pytest.mark.heavy

DATA = ROOT.parent / "shared" / "data"
TAPS = ("pooled", "map")


def made(count: int, size: int) -> np.ndarray:
    """Smooth images, flat ones and noise."""
    random = np.random.default_rng(0)
    slope = np.linspace(0, 1, size)[:, np.newaxis, np.newaxis] * random.uniform(0, 255, (count, 1, 1, 3))
    wave = 127 + 127 * np.sin(np.arange(size)[:, np.newaxis] * random.uniform(0, 0.5, (count, 1, 1, 1)))
    return np.concatenate(
        [np.broadcast_to(slope, (count, size, size, 3)), np.broadcast_to(wave, (count, size, size, 3))]
    ).astype(np.uint8)


def photos(backbone: Backbone, count: int) -> np.ndarray:
    files = [path for kind in ("imagenet_sample", "flowers") for path in photo_files(DATA / kind, count // 2)]
    if not files:
        pytest.skip("no photos here")
    return np.stack([backbone.resize(decode(path.read_bytes())) for path in files])


def photo_files(directory: Path, count: int) -> list[Path]:
    found = sorted(path for path in directory.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return found[:: max(1, len(found) // count)][:count]


def refuse_disagreement(backbone: Backbone, shown: np.ndarray) -> None:
    one, other = (features(name, backbone, shown) for name in ("openvino", "tensorflow"))
    for tap in TAPS:
        for start in range(0, len(shown), 32):
            assert difference(one[tap][start : start + 32], other[tap][start : start + 32]) <= 1e-4


def features(engine: str, backbone: Backbone, shown: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the taps of all images; the engine is gone afterwards: two of a large network need twice the memory."""
    work = load_engine(engine, backbone, TAPS, batch_size=32)
    found = [work(shown[start : start + 32]) for start in range(0, len(shown), 32)]
    work.close()
    return {tap: np.concatenate([batch[tap] for batch in found]) for tap in TAPS}


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite0",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v3_small", "resnet50_v2")),
    ],
)
def test_small(name: str) -> None:
    backbone = small(name)
    refuse_disagreement(backbone, np.concatenate([made(8, backbone.image_size), images(16, size=backbone.image_size)]))


DEEP = {"efficientnet_b7", "efficientnet_v2_l"}
"""Their 55 and 79 residual blocks of random weights blow a rounding error up ten thousand times, which trained weights
do not: what the branches add is damped."""


def damped(name: str, tmp_path: Path) -> Backbone:
    network = load_backbone(name, weights="random:0").network()
    for layer in network.layers:
        values = layer.get_weights()
        if type(layer).__name__ == "BatchNormalization" and np.all(values[0] == np.float32(0.25)):
            layer.set_weights([values[0] * 0.2, *values[1:]])
    network.save_weights(tmp_path / "damped.weights.h5")
    return load_backbone(name, weights=str(tmp_path / "damped.weights.h5"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [spec.name for spec in list_backbones()])
def test_every_backbone_on_photos(name: str, tmp_path: Path) -> None:
    bundled = "imagenet" if name.startswith("efficientnet_lite") else "random:0"
    backbone = damped(name, tmp_path) if name in DEEP else load_backbone(name, weights=bundled)
    refuse_disagreement(backbone, made(8, backbone.image_size))
    refuse_disagreement(backbone, photos(backbone, 200))
