"""Features of the size that ResNet50 gives for a small photo collection."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.system import digest

IMAGES, FEATURES, CLASSES = 2700, 2048, 5

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training features and labels, validation features and labels."""


def made(images: int = IMAGES, features: int = FEATURES, classes: int = CLASSES, others: int = 1000) -> Data:
    """Returns training and validation images: non-negative, sparse, of unequal scale, as pooled ReLU features are."""
    rng = np.random.default_rng(0)
    scale = rng.lognormal(0, 0.7, features).astype(np.float32)
    centres = rng.standard_normal((classes, features)).astype(np.float32) * np.float32(0.1)
    y = rng.integers(0, classes, images + others)
    X = np.maximum(rng.standard_normal((len(y), features), np.float32) + centres[y], 0) * scale
    return X[:images], y[:images], X[images:], y[images:]


def made_bank(path: Path, images: int, features: int, classes: int) -> Bank:
    """Writes a bank of such features; 7 of 10 are training images, the others validate and test."""
    X, y, _, _ = made(images, features, classes, 0)
    which = np.minimum(np.arange(images) * 20 // images // 14, 1) + (np.arange(images) * 20 // images >= 17)
    digests = np.array([digest.of_recipe(["made", number]) for number in range(images)], "S32")
    ids = tuple(f"{number}.png" for number in range(images))
    record = {"name": "made", "classes": [f"class{number}" for number in range(classes)]}
    with BankWriter(path, {"backbone": "none", "images": images, "features": features}, record) as writer:
        writer.append(ids, row_keys(digests), {"pooled": X}, {"pooled": "float32"})
        writer.finish(Items(ids, digests, y.astype(np.int32), which.astype(np.uint8)), ("pooled",), (), None)
    return Bank(path)
