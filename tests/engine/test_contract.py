"""What every engine promises."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import CancelledError

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.table import ENGINES
from featurebank.errors import ConfigError, EngineError, UnknownNameError
from tests.conftest import ROOT
from tests.engine.conftest import BATCH, OF_KERAS, TAPS, difference, expected, images

pytestmark = pytest.mark.heavy

LOAD = """
import sys, time
import numpy as np
from featurebank import load_backbone
from featurebank.engine.catalog import load_engine
from featurebank import set_threads
set_threads(1)
backbone = load_backbone("efficientnet_lite0", weights="random:0", image_size=96)
images = np.zeros((8, 96, 96, 3), np.uint8)
for name in sys.argv[1:]:
    engine = load_engine(name, backbone, ["pooled"], batch_size=8)
    engine(images)
    wall, cpu = time.perf_counter(), time.process_time()
    for future in [engine.submit(images) for _ in range(15)]:
        future.result()
    print(name, (time.process_time() - cpu) / (time.perf_counter() - wall))
    engine.close()
"""


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[tap], other[tap]) for tap in one)


@pytest.mark.parametrize("count", [1, 3, BATCH])
def test_gives_what_keras_gives(engine: Engine, lite: Backbone, count: int) -> None:
    batch = images(count)
    found, right = engine(batch), expected(lite, TAPS, batch)
    assert set(found) == set(TAPS)
    for tap in TAPS:
        assert found[tap].dtype == np.float32
        assert difference(found[tap], right[tap]) <= 1e-5


def test_darkest_and_brightest_image(engine: Engine, lite: Backbone) -> None:
    batch = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    found, right = engine(batch), expected(lite, TAPS, batch)
    assert all(difference(found[tap], right[tap]) <= 1e-5 for tap in TAPS)


def test_an_image_has_the_same_features_in_any_company(engine: Engine) -> None:
    batch = images(BATCH)
    whole = engine(batch)
    for place in (0, 3, BATCH - 1):
        alone = engine(batch[place : place + 1])
        assert equal(alone, {tap: rows[place : place + 1] for tap, rows in whole.items()})
    backwards = engine(batch[::-1])
    assert equal(backwards, {tap: rows[::-1] for tap, rows in whole.items()})


def test_many_batches_in_flight_stay_apart(engine: Engine) -> None:
    batches = [images(1 + seed % BATCH, seed) for seed in range(30)]
    alone = [engine(batch) for batch in batches]
    futures = [engine.submit(batch) for batch in batches]
    assert all(equal(future.result(), one) for future, one in zip(futures, alone, strict=True))


def test_an_answer_belongs_to_the_caller(engine: Engine) -> None:
    kept = engine(images(BATCH))
    first = {tap: rows.copy() for tap, rows in kept.items()}
    engine(images(BATCH, seed=1))
    assert equal(kept, first)


@pytest.mark.parametrize(
    "batch",
    [images(BATCH + 1), images(0), images(1, size=31), images(1).astype(np.float32), images(1)[0]],
    ids=["too many", "none", "size", "type", "no batch"],
)
def test_other_batches_are_refused(engine: Engine, batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match=rf"expected 1 to {BATCH} images of shape \(32, 32, 3\) and type uint8"):
        engine.submit(batch)


def test_says_what_it_is(engine: Engine) -> None:
    assert ENGINES[engine.name].load() is type(engine)
    assert ENGINES[engine.name].is_installed
    assert engine.precision == "float32"
    assert engine.depth >= 2


@pytest.mark.parametrize("name", OF_KERAS)
def test_closed(name: str, lite: Backbone) -> None:
    engine = load_engine(name, lite, ["pooled"], batch_size=BATCH)
    futures = [engine.submit(images(BATCH)) for _ in range(200)]
    engine.close()
    engine.close()
    assert all(future.done() for future in futures), "somebody would wait for ever"
    with pytest.raises(CancelledError):
        futures[-1].result()
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(images(1))


@pytest.mark.parametrize("name", OF_KERAS)
def test_unknown_tap(name: str, lite: Backbone) -> None:
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        load_engine(name, lite, ["nosuchlayer"], batch_size=2)


@pytest.mark.parametrize("name", OF_KERAS)
def test_unknown_precision(name: str, lite: Backbone) -> None:
    with pytest.raises(ConfigError, match="the precision is 'int8': expected float32, bfloat16, float16"):
        load_engine(name, lite, ["pooled"], batch_size=2, precision="int8")


@pytest.mark.parametrize("name", OF_KERAS)
def test_nan_is_not_hidden(name: str) -> None:
    """Broken weights give NaN, or no engine: never numbers."""
    backbone = load_backbone("efficientnet_lite0", weights="random:1", image_size=32)
    layer = backbone.network().get_layer("block2a_expand_conv")
    layer.set_weights([np.full_like(weight, np.nan) for weight in layer.get_weights()])
    try:
        engine = load_engine(name, backbone, ["block2a_expand_conv", "pooled"], batch_size=2)
    except EngineError as error:
        assert "other features than Keras" in str(error)  # noqa: PT017 - either will do
        return
    found = engine(images(2))
    assert all(np.isnan(rows).all() for rows in found.values())
    engine.close()


def test_threads_are_honoured() -> None:
    """In a process of its own, which has as many threads as the first engine was allowed."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *OF_KERAS], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    used = dict(line.split() for line in done.stdout.splitlines())
    assert set(used) == set(OF_KERAS)
    assert all(float(processors) < 1.3 for processors in used.values()), used
