"""OpenVINO: quick to start again, silent towards the world, and never with other features than Keras."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.engine import openvino
from featurebank.engine.catalog import load_engine
from featurebank.engine.converted import DIRECTORY
from featurebank.engine.openvino import (
    OpenVINOEngine,
    has_bfloat16,
    import_openvino,
    openvino_version,
    starts_at_once,
)
from featurebank.engine.saved_networks import add_averaged_map
from featurebank.errors import ConfigError, EngineError
from tests.conftest import ROOT
from tests.engine.conftest import difference, expected, images

pytestmark = pytest.mark.heavy

TAPS = ["pooled", "map:max"]

START = """
import sys
from pathlib import Path
from typing import Any
import numpy as np
from featurebank import load_backbone
from featurebank.engine.catalog import load_engine
backbone = load_backbone("squeezenet1_1", weights="random:0", image_size=32)
engine = load_engine("auto", backbone, ["pooled", "map:max"], batch_size=4, cache=Path(sys.argv[1]))
found = engine(np.load(sys.argv[2]))
np.savez(sys.argv[3], **{tap.replace(":", "_"): rows for tap, rows in found.items()})
heavy = {"tensorflow", "keras", "openvino_telemetry"} & set(sys.modules)
print(engine.name, *sorted(heavy))
"""


@pytest.fixture(scope="module")
def network() -> Backbone:
    """Of few layers: each is converted again and again."""
    return load_backbone("squeezenet1_1", weights="random:0", image_size=32)


@pytest.fixture(scope="module")
def shown(network: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the converted network; not to be changed."""
    cache = tmp_path_factory.mktemp("converted")
    OpenVINOEngine(network, TAPS, batch_size=4, cache=cache).close()
    return cache


@pytest.fixture
def converted(shown: Path, tmp_path: Path) -> Path:
    """The file of the converted network, in the cache `tmp_path`."""
    shutil.copytree(shown / DIRECTORY, tmp_path / DIRECTORY)
    (path,) = (tmp_path / DIRECTORY).iterdir()
    return path


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """To be called where from now on no network may be converted."""

    def fail(*args: object) -> None:
        raise AssertionError("a network was converted")

    return lambda: monkeypatch.setattr("openvino.convert_model", fail)


def test_a_second_start_needs_neither_keras_nor_tensorflow(
    converted: Path, shown: Path, network: Backbone, tmp_path: Path
) -> None:
    batch, home = images(3), tmp_path / "home"
    home.mkdir()
    np.save(tmp_path / "images.npy", batch)
    words = (sys.executable, "-c", START, converted.parents[1], tmp_path / "images.npy", tmp_path / "found.npz")
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("openvino\n", "")
    assert not list(home.iterdir()), "something was left in the user's home"
    right = OpenVINOEngine(network, TAPS, batch_size=4, cache=shown)(batch)
    with np.load(tmp_path / "found.npz") as found:
        assert all(np.array_equal(found[tap.replace(":", "_")], right[tap]) for tap in TAPS)


def test_batch_size_and_precision_share_a_file(
    converted: Path, network: Backbone, tmp_path: Path, no_conversion: Callable[[], None]
) -> None:
    no_conversion()
    engine = OpenVINOEngine(network, TAPS, batch_size=7, cache=tmp_path)
    assert engine(images(7))["pooled"].shape == (7, 512)
    if has_bfloat16():
        OpenVINOEngine(network, TAPS, batch_size=4, cache=tmp_path, precision="bfloat16")
    assert [*converted.parent.iterdir()] == [converted]


def test_the_map_behind_an_average_needs_no_conversion(
    converted: Path, network: Backbone, tmp_path: Path, no_conversion: Callable[[], None]
) -> None:
    """It is inside of the converted network, and equals the map of Keras; other layers and orders are not found."""
    assert starts_at_once(network, [*TAPS, "map"], tmp_path)
    assert not starts_at_once(network, ["map"], tmp_path)
    assert not starts_at_once(network, [*TAPS, "fire8"], tmp_path)
    assert not starts_at_once(network, ["map:max", "map"], tmp_path)
    assert not starts_at_once(network, [*TAPS, "map"], tmp_path / "empty")
    no_conversion()
    batch = images(3)
    features = OpenVINOEngine(network, [*TAPS, "map"], batch_size=4, cache=tmp_path)(batch)
    assert difference(features["map"], expected(network, ("map",), batch)["map"]) < 1e-4
    assert np.allclose(features["map"].mean(axis=(1, 2)), features["pooled"], atol=1e-5)
    assert [*converted.parent.iterdir()] == [converted], "nothing was written"


@pytest.mark.parametrize(
    ("axes", "places", "found"),
    [([1, 2], (4, 5), True), ([2, 3], (5, 6), True), ([1], (4,), False), ([3], (6,), False)],
)
def test_averages_over_the_places_of_both_layouts_are_found(
    axes: list[int], places: tuple[int, ...], found: bool
) -> None:
    package = import_openvino()
    ops, shape = package.opset13, (2, 4, 5, 6)
    source = ops.parameter(shape, name="images")
    mean = ops.reduce_mean(ops.relu(source), ops.constant(axes, dtype="int64"))
    mean.output(0).get_tensor().set_names({"average"})
    model = package.Model([mean], [source])
    assert add_averaged_map(package, model, "average", "new") is found
    assert len(model.outputs) == 1 + found
    if found:
        values = np.random.default_rng(0).random(shape, np.float32)
        new = package.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)["new"]
        assert new.shape[1:3] == places
        assert np.array_equal(new, values if axes == [1, 2] else values.transpose(0, 2, 3, 1))


def test_other_taps_weights_and_sizes_are_other_files(converted: Path, network: Backbone, tmp_path: Path) -> None:
    OpenVINOEngine(network, ["pooled"], batch_size=4, cache=tmp_path)
    for seed, size in ((1, 32), (0, 48)):
        other = load_backbone("squeezenet1_1", weights=f"random:{seed}", image_size=size)
        OpenVINOEngine(other, TAPS, batch_size=4, cache=tmp_path)
    assert len([*converted.parent.iterdir()]) == 4


def test_a_damaged_file_is_made_again(
    converted: Path, shown: Path, network: Backbone, tmp_path: Path, no_conversion: Callable[[], None]
) -> None:
    whole = converted.read_bytes()
    middle = len(whole) // 2
    converted.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    right = OpenVINOEngine(network, TAPS, batch_size=4, cache=shown)(images(4))
    found = OpenVINOEngine(network, TAPS, batch_size=4, cache=tmp_path)(images(4))
    assert np.array_equal(found["pooled"], right["pooled"])
    no_conversion()
    again = OpenVINOEngine(network, TAPS, batch_size=4, cache=tmp_path)(images(4))
    assert np.array_equal(again["pooled"], right["pooled"]), "the file is whole"


def test_a_cache_that_cannot_be_written_is_told(network: Backbone, tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).write_text("a file where the directory should be")
    said: list[str] = []
    engine = OpenVINOEngine(network, TAPS, batch_size=4, cache=tmp_path, say=said.append)
    assert engine(images(4))["pooled"].shape == (4, 512)
    (line,) = said
    assert line.startswith("the converted network cannot be saved for the next time: ")
    assert DIRECTORY in line


def test_other_features_than_keras_are_refused(
    network: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As if OpenVINO had converted another network."""
    other = load_backbone("squeezenet1_1", weights="random:7", image_size=32)
    kept = []
    convert = import_openvino().convert_model
    monkeypatch.setattr("openvino.convert_model", lambda found: kept.append(convert(found)) or kept[0])
    OpenVINOEngine(other, TAPS, batch_size=4)
    monkeypatch.setattr("openvino.convert_model", lambda found: kept[0])
    with pytest.raises(EngineError, match="other features than Keras for tap 'pooled' of squeezenet1_1"):
        OpenVINOEngine(network, TAPS, batch_size=4, cache=tmp_path)
    assert not list(tmp_path.iterdir()), "it would be taken the next time"


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    ("reason", "kind", "message"),
    [
        (
            "broken\n  node",
            EngineError,
            r"^engine openvino failed on a batch: .*: broken node; try --engine tensorflow",
        ),
        ("std::bad_alloc", MemoryError, "bad_alloc"),
        ("out of memory", MemoryError, "out of memory"),
    ],
)
def test_a_request_that_fails(
    network: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reason: str, kind: type[Exception], message: str
) -> None:
    class Request:
        def __init__(self, request: Any) -> None:
            self.get_input_tensor, self.get_tensor = request.get_input_tensor, request.get_tensor

        def start_async(self) -> None:
            raise RuntimeError(f"Exception from src/infer.cpp:1:\n  {reason}")

    create = import_openvino().CompiledModel.create_infer_request
    monkeypatch.setattr("openvino.CompiledModel.create_infer_request", lambda self: Request(create(self)))
    engine = OpenVINOEngine(network, TAPS, batch_size=4, cache=tmp_path)
    with pytest.raises(kind, match=message):
        engine(images(3))


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_is_near_and_not_the_same(network: Backbone, shown: Path) -> None:
    batch = images(4)
    exact = OpenVINOEngine(network, TAPS, batch_size=4, cache=shown)(batch)
    engine = OpenVINOEngine(network, TAPS, batch_size=4, cache=shown, precision="bfloat16")
    assert engine.precision == "bfloat16"
    found = engine(batch)
    for tap in TAPS:
        assert found[tap].dtype == np.float32
        assert 1e-4 < difference(found[tap], exact[tap]) < 0.3


def test_bfloat16_where_the_processor_has_none(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_has_bfloat16", lambda core: False)
    with pytest.raises(ConfigError, match=r"this processor \(.+\) has no native bfloat16: use float32"):
        OpenVINOEngine(network, TAPS, batch_size=4, precision="bfloat16")


def test_float16_is_not_of_this_engine(network: Backbone) -> None:
    with pytest.raises(ConfigError, match="cannot compute in 'float16': expected float32 or bfloat16"):
        OpenVINOEngine(network, TAPS, batch_size=4, precision="float16")


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert openvino_version()
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert openvino_version() is None


@pytest.mark.skipif(os.name != "posix", reason="signals have stacks on POSIX alone")
def test_a_signal_after_an_engine_has_gone_finds_its_stack(network: Backbone, shown: Path) -> None:
    """OpenVINO leaves a freed stack to the thread that compiles; a signal on it would end the process."""

    def stack() -> bytes:
        state = ctypes.create_string_buffer(64)
        assert ctypes.CDLL(None).sigaltstack(None, state) == 0
        return state.raw[:24]

    before = stack()
    engine = load_engine("openvino", network, TAPS, batch_size=2, cache=shown)
    engine(images(2))
    assert stack() == before
    engine.close()
    del engine
    gc.collect()
    assert stack() == before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
