"""The engine gives what the network gives, image by image, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.backbone import Backbone
from featurebank.engine.catalog import load_engine
from featurebank.engine.tensorflow import TensorFlowEngine
from featurebank.errors import UnknownNameError

TAPS = ("pooled", "map", "map:max")


@pytest.fixture(scope="module")
def engine(lite: Backbone) -> TensorFlowEngine:
    return TensorFlowEngine(lite, TAPS, batch_size=4)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_equals_the_network_alone(engine: TensorFlowEngine, lite: Backbone, count: int) -> None:
    batch = images(count)
    found = engine(batch)
    assert set(found) == set(TAPS)
    model = lite.tap_model(list(TAPS))
    for row in range(count):
        alone = model(batch[row : row + 1].astype(np.float32), training=False)
        for tap in TAPS:
            assert found[tap].shape[0] == count
            assert found[tap].dtype == np.float32
            scale = np.abs(alone[tap]).max()
            assert np.abs(found[tap][row] - np.asarray(alone[tap])[0]).max() <= 1e-4 * scale


def test_earlier_answers_and_neighbours_do_not_matter(engine: TensorFlowEngine) -> None:
    batch = images(4)
    kept = engine(batch)
    first = {tap: value.copy() for tap, value in kept.items()}
    engine(images(4, seed=1))
    assert all(np.array_equal(kept[tap], first[tap]) for tap in TAPS), "a later batch changed an earlier answer"
    alone = engine(batch[:1])
    assert all(np.array_equal(alone[tap][0], first[tap][0]) for tap in TAPS)


def test_larger_batches_are_refused(engine: TensorFlowEngine) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        engine(images(5))


def test_catalog(lite: Backbone) -> None:
    assert load_engine("auto", lite, ["pooled"], batch_size=2).name == "tensorflow"
    with pytest.raises(UnknownNameError, match="did you mean 'tensorflow'"):
        load_engine("tensorflo", lite, ["pooled"], batch_size=2)
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        load_engine("tensorflow", lite, ["nosuchlayer"], batch_size=2)
