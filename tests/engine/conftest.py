"""Every engine, on one small network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from featurebank.backbone import Backbone
from featurebank.engine import converted
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.table import ENGINES

TAPS = ("pooled", "map", "map:max", "map:avg", "block2a_expand_conv", "block2a_expand_bn:avg")
"""Among them the same tensor twice, and a convolution whose normalisation must not be folded into it."""
BATCH = 8


LOAD, SAVE = converted.load, converted.save
"""As users have them: this file is imported before a fixture replaces them."""


@pytest.fixture(scope="module", autouse=True)
def own_conversions() -> Iterator[None]:
    """Each test of an engine converts its network itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converted, "load", LOAD)
        patch.setattr(converted, "save", SAVE)
        yield


OF_KERAS = [name for name, kind in ENGINES.items() if "keras" in kind.forms]
"""The engines that run networks of Keras."""


@pytest.fixture(scope="session", params=OF_KERAS)
def engine(request: pytest.FixtureRequest, lite: Backbone) -> Iterator[Engine]:
    engine = load_engine(request.param, lite, TAPS, batch_size=BATCH)
    yield engine
    engine.close()


def images(count: int, seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def expected(backbone: Backbone, taps: tuple[str, ...], batch: np.ndarray) -> dict[str, np.ndarray]:
    """What Keras gives."""
    found = backbone.tap_model(taps)(batch.astype(np.float32), training=False)
    return {tap: np.asarray(value) for tap, value in found.items()}


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest of all rows, relative to the largest feature of the row of `other`."""
    assert one.shape == other.shape
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return float((np.abs(one - other).max(axis=1) / np.abs(other).max(axis=1)).max())
