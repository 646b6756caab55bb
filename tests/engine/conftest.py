"""Every engine, on one small network."""

from __future__ import annotations

import atexit
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.engine import converted
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.table import ENGINES
from tests.support.onnx_networks import cnn, run

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
TAPS_OF = {
    "keras": TAPS,
    "convolutions": ("pooled", "map", "map:max", "map:avg", "layer1.0.conv1", "layer1.1:avg"),
    "tokens": ("pooled", "map", "tokens", "cls", "blocks.1", "blocks.1:avg", "blocks.1:map"),
    "file": ("pooled", "map", "map:max", "map:avg", "relu1", "relu1:avg"),
}
"""The networks of the suite: of Keras, two of PyTorch, and one of an ONNX file."""
NODES_OF_FILE = ("flat", "relu2", "relu1")
CASES = [
    *(pytest.param((name, "keras"), id=f"{name} on keras") for name in OF_KERAS),
    *(pytest.param((name, "file"), id=f"{name} on file") for name, kind in ENGINES.items() if "openvino" in kind.forms),
    *(
        pytest.param((name, network), id=f"{name} on {network}", marks=pytest.mark.networks)
        for name, kind in ENGINES.items()
        for network in ("convolutions", "tokens")
        if "pytorch" in kind.forms
    ),
]
"""Each engine with each network of a form that it runs."""


class Subject(NamedTuple):
    """An engine, and the network that it runs."""

    engine: Engine
    backbone: Backbone
    taps: tuple[str, ...]


def network_of(network: str, lite: Backbone) -> Backbone:
    """Returns a network of the suite."""
    if network == "keras":
        return lite
    if network == "file":
        return _network_of_file()
    from tiny_torch import TinyMaps, TinyTokens, tiny_torch

    return tiny_torch(TinyMaps if network == "convolutions" else TinyTokens)


@functools.cache
def _network_of_file() -> Backbone:
    """A network is read from its file again whenever it is built, so the file stays until the tests end."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return load_backbone(str(cnn(32).save(Path(folder.name, "cnn.onnx"), "head")), preprocessing="tf")


@pytest.fixture(scope="session", params=CASES)
def tested(request: pytest.FixtureRequest, lite: Backbone) -> Iterator[Subject]:
    name, network = request.param
    backbone = network_of(network, lite)
    engine = load_engine(name, backbone, TAPS_OF[network], batch_size=BATCH)
    yield Subject(engine, backbone, TAPS_OF[network])
    engine.close()


@pytest.fixture
def engine(tested: Subject) -> Engine:
    return tested.engine


def images(count: int, seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def expected(backbone: Backbone, taps: tuple[str, ...], batch: np.ndarray) -> dict[str, np.ndarray]:
    """What the network's own library gives."""
    if isinstance(backbone, TorchBackbone):
        import torch

        return {
            tap: value.numpy()
            for tap, value in zip(taps, backbone.tap_module(taps)(torch.from_numpy(batch.copy())), strict=True)
        }
    if isinstance(backbone, OpenVINOBackbone):
        import onnx

        prepared = (batch / np.float32(127.5) - 1).transpose(0, 3, 1, 2)
        flat, last, first = run(onnx.load(backbone.spec.file.path), prepared, NODES_OF_FILE)
        features = {"pooled": flat, "map": last.transpose(0, 2, 3, 1), "relu1": first.transpose(0, 2, 3, 1)}
        features |= {f"{tap}:avg": features[tap].mean((1, 2)) for tap in ("map", "relu1")}
        features["map:max"] = features["map"].max((1, 2))
        return {tap: features[tap] for tap in taps}
    found = backbone.tap_model(taps)(batch.astype(np.float32), training=False)
    return {tap: np.asarray(value) for tap, value in found.items()}


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest of all rows, relative to the largest feature of the row of `other`."""
    assert one.shape == other.shape
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return float((np.abs(one - other).max(axis=1) / np.abs(other).max(axis=1)).max())
