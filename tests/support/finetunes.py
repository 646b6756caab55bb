"""What tests of fine-tunes share: photos that a network learns to tell apart, options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featurebank.finetuning.options import FinetuneOptions, read_options


def save_photos(root: Path, *, train: int = 41, val: int = 24) -> None:
    """Ants have stripes from left to right, bees from top to bottom; the only cow is in validation."""
    random = np.random.default_rng(0)
    for number in range(train + val):
        split, label = ("train", "val")[number >= train], ("ant", "bee")[number % 2]
        stripes = (np.arange(14) + random.integers(4)) // 2 % 2 * 90
        pixels = np.broadcast_to(stripes[:, None] if label == "ant" else stripes, (14, 14))[:, :, None]
        pixels = pixels + random.integers(0, 120, (14, 14, 3))
        if number == train + val - 1:
            label = "cow"
        path = root / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def options(**given: Any) -> FinetuneOptions:
    return read_options({"unfreeze": ["all"], **given})
