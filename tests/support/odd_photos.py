"""Photos of odd sizes, for comparisons with the transforms of other libraries."""

from __future__ import annotations

from functools import cache

import numpy as np

SIZES = (
    (1, 500), (500, 1), (2, 2), (31, 2000), (2000, 31), (224, 224), (256, 256), (248, 248), (225, 224), (224, 257),
    (100, 100), (333, 500), (500, 333), (375, 500), (640, 480), (481, 321), (7, 9), (64, 48), (299, 299), (1000, 37),
    (223, 1000), (255, 257), (512, 511), (600, 899), (101, 303), (13, 17), (768, 1024), (160, 90), (90, 160),
    (384, 384), (1023, 255), (199, 401),
)  # fmt: skip
"""Heights and widths of 32 photos."""


@cache
def odd_photos() -> list[np.ndarray]:
    """Returns 32 images (height, width, 3) uint8 with edges and smooth places, the same in every process."""
    return [_photo(height, width, seed) for seed, (height, width) in enumerate(SIZES)]


def _photo(height: int, width: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / generator.uniform(2, 40) + y / generator.uniform(2, 40)) for _ in range(3)]
    blocks = generator.integers(0, 2, (height // 16 + 1, width // 16 + 1, 3)).repeat(16, 0).repeat(16, 1)
    noise = generator.normal(0, 12, (height, width, 3))
    return np.clip(128 + 60 * np.stack(waves, -1) + 50 * blocks[:height, :width] + noise, 0, 255).astype(np.uint8)
