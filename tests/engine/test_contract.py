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
from tests.engine.conftest import BATCH, CASES, OF_KERAS, TAPS_OF, Subject, difference, expected, images, network_of

pytestmark = pytest.mark.heavy

LOAD = """
import sys, time
import numpy as np
from featurebank import load_backbone
from featurebank.engine.catalog import load_engine
from featurebank import set_threads
set_threads(1)
backbone = load_backbone("squeezenet1_1", weights="random:0", image_size=96)
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
def test_gives_what_the_network_gives(tested: Subject, count: int) -> None:
    batch = images(count)
    found, right = tested.engine(batch), expected(tested.backbone, tested.taps, batch)
    assert set(found) == set(tested.taps)
    for tap in tested.taps:
        assert found[tap].dtype == np.float32
        assert difference(found[tap], right[tap]) <= 1e-5


def test_darkest_and_brightest_image(tested: Subject) -> None:
    batch = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    found, right = tested.engine(batch), expected(tested.backbone, tested.taps, batch)
    assert all(difference(found[tap], right[tap]) <= 1e-5 for tap in tested.taps)


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


@pytest.mark.parametrize("case", CASES)
def test_closed(case: tuple[str, str], lite: Backbone) -> None:
    name, backbone = case[0], load_backbone("tiny:inverted") if case[1] == "keras" else network_of(case[1], lite)
    engine = load_engine(name, backbone, ["pooled"], batch_size=BATCH)
    futures = [engine.submit(images(BATCH)) for _ in range(200)]
    engine.close()
    engine.close()
    assert all(future.done() for future in futures), "somebody would wait for ever"
    with pytest.raises(CancelledError):
        futures[-1].result()
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(images(1))


@pytest.mark.parametrize("case", CASES)
def test_unknown_tap(case: tuple[str, str], lite: Backbone) -> None:
    name, backbone = case[0], network_of(case[1], lite)
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        load_engine(name, backbone, ["nosuchlayer"], batch_size=2)


@pytest.mark.parametrize("case", CASES)
def test_unknown_precision(case: tuple[str, str], lite: Backbone) -> None:
    name, backbone = case[0], network_of(case[1], lite)
    with pytest.raises(ConfigError, match="the precision is 'int8': expected float32, bfloat16, float16"):
        load_engine(name, backbone, ["pooled"], batch_size=2, precision="int8")


@pytest.mark.parametrize("name", OF_KERAS)
def test_nan_is_not_hidden(name: str) -> None:
    """Broken weights give NaN, or no engine: never numbers."""
    backbone = load_backbone("tiny:inverted")
    layer = backbone.network().get_layer("block_2_expand")
    layer.set_weights([np.full_like(weight, np.nan) for weight in layer.get_weights()])
    try:
        engine = load_engine(name, backbone, ["block_2_expand", "pooled"], batch_size=2)
    except EngineError as error:
        assert "other features than Keras" in str(error)  # noqa: PT017 - either will do
        return
    found = engine(images(2))
    assert all(np.isnan(rows).all() for rows in found.values())
    engine.close()


@pytest.mark.networks
@pytest.mark.parametrize("name", [name for name, kind in ENGINES.items() if "pytorch" in kind.forms])
def test_nan_of_pytorch_is_not_hidden(name: str, lite: Backbone) -> None:
    backbone = network_of("convolutions", lite)
    backbone.module().last.weight.fill_(float("nan"))
    engine = load_engine(name, backbone, ["layer1.0", "pooled"], batch_size=2)
    found = engine(images(2))
    assert np.isfinite(found["layer1.0"]).all()
    assert np.isnan(found["pooled"]).all()
    engine.close()


@pytest.mark.networks
@pytest.mark.parametrize("network", ["convolutions", "tokens"])
def test_pytorch_in_bfloat16_is_near_and_not_the_same(network: str, lite: Backbone) -> None:
    backbone, taps, batch = network_of(network, lite), TAPS_OF[network], images(3)
    engine = load_engine("pytorch", backbone, taps, batch_size=4, precision="bfloat16")
    assert engine.precision == "bfloat16"
    found, exact = engine(batch), expected(backbone, taps, batch)
    assert all(rows.dtype == np.float32 for rows in found.values())
    assert all(1e-4 < difference(found[tap], exact[tap]) < 0.3 for tap in taps)
    engine.close()


@pytest.mark.networks
def test_pytorch_has_float16_on_a_gpu_alone(lite: Backbone) -> None:
    with pytest.raises(ConfigError, match="float16 only on a GPU, and none is visible: use float32 or bfloat16"):
        load_engine("pytorch", network_of("tokens", lite), ["pooled"], batch_size=2, precision="float16")


@pytest.mark.networks
@pytest.mark.parametrize(
    ("reason", "kind"), [("DefaultCPUAllocator: can't allocate memory", MemoryError), ("no such kernel", EngineError)]
)
def test_a_request_of_pytorch_that_fails(reason: str, kind: type[Exception], lite: Backbone) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(reason)

    backbone = network_of("tokens", lite)
    engine = load_engine("pytorch", backbone, ["pooled"], batch_size=2)
    backbone.module().norm.register_forward_pre_hook(fail)
    with pytest.raises(kind, match=reason):
        engine(images(2))
    engine.close()


@pytest.mark.networks
def test_a_trace_that_holds_for_one_number_of_images_is_refused(lite: Backbone) -> None:
    """OpenVINO would return features of other images, or fail at the next batch; "auto" takes PyTorch."""
    backbone = network_of("tokens", lite)
    backbone.module().norm.register_forward_hook(lambda _module, _inputs, value: value + int(value.shape[0]))
    said: list[str] = []
    engine = load_engine("auto", backbone, ["cls"], batch_size=2, say=said.append)
    assert engine.name == "pytorch"
    (line,) = said
    assert "OpenVINO computes other features than PyTorch for tap 'cls'" in line
    with pytest.raises(EngineError, match="other features than PyTorch"):
        load_engine("openvino", backbone, ["cls"], batch_size=2)
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
