"""Networks of known quality for races: an engine that sees the class of an image through noise."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from immediate import Immediate

from featurebank.backbone import Backbone

CLASSES = 3


def images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns different images (n, 8, 8, 3) uint8, whose first pixel says their class, and the labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    pixels[:, :4, :4] = (labels * 100)[:, None, None, None]
    return pixels, labels


class NoisyEngine(Immediate):
    """Features that show the class of an image, with noise that grows with the seed of the network's weights."""

    name, precision = "noisy", "float32"

    def __init__(self, backbone: Backbone, taps: Any, log: list[str]) -> None:
        self.taps, self._log, self._name = tuple(taps), log, backbone.weights
        self._noise = float(backbone.weights.partition(":")[2])

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the features of some images, and notes each of them."""
        self._log += [self._name] * len(batch)
        labels = np.rint(batch[:, 0, 0, 0] / 100).astype(int)
        noise = np.stack([
            np.random.default_rng(zlib.crc32(image.tobytes()) + int(self._noise)).normal(size=6) for image in batch
        ])  # fmt: skip
        rows = (np.eye(CLASSES, 6)[labels] * 4 + noise * self._noise).astype(np.float32)
        return dict.fromkeys(self.taps, rows)


@pytest.fixture
def contestants(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes networks with the weights random:N show the classes with noise N; notes the network of each image."""
    log: list[str] = []

    def load(name: str, backbone: Backbone, taps: Any, **options: Any) -> NoisyEngine:
        return NoisyEngine(backbone, taps, log)

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)
    return log
