"""A network from a file as a backbone: its features are those of ONNX Runtime's own forward pass."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from featurebank.backbone import BackboneOptions, load_network
from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.backbone.preprocess import arithmetic
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.system.imports.openvino import compile_model, import_openvino
from tests.support.onnx_networks import Network, cnn, run, vit

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def load(path: Path, **options: Any) -> OpenVINOBackbone:
    backbone = load_network(str(path), BackboneOptions(preprocessing="torch", **options))
    assert isinstance(backbone, OpenVINOBackbone)
    return backbone


def compute(backbone: OpenVINOBackbone, *taps: str) -> list[np.ndarray]:
    graph = backbone.tap_graph(taps)
    assert [str(value.get_any_name()) for value in graph.inputs] == ["image"]
    graph.reshape([len(IMAGES), 16, 16, 3])
    request = compile_model(import_openvino().Core(), graph, {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    request.infer([IMAGES])
    return [np.array(request.get_tensor(f"tap_{place}").data) for place in range(len(taps))]


def reference(path: Path, *names: str) -> list[np.ndarray]:
    does = arithmetic("torch:v1")
    prepared = (IMAGES * np.array(does.scale) + np.array(does.offset)).astype(np.float32).transpose(0, 3, 1, 2)
    return run(onnx.load(path), prepared, names)


def close(got: np.ndarray, expected: np.ndarray) -> bool:
    return got.shape == expected.shape and float(np.abs(got - expected).max()) <= 1e-5 * float(np.abs(expected).max())


def test_features_of_convolutions(tmp_path: Path) -> None:
    backbone = load(path := cnn().save(tmp_path / "net.onnx", "head"))
    relu1, relu2, pooled, head = reference(path, "relu1", "relu2", "flat", "head")
    got = compute(backbone, "relu1", "map", "pooled", "relu1:max", "flat", "head")
    first, last = relu1.transpose(0, 2, 3, 1), relu2.transpose(0, 2, 3, 1)
    for one, expected in zip(got, (first, last, pooled, first.max((1, 2)), pooled, head), strict=True):
        assert close(one, expected)


def test_features_of_a_transformer(tmp_path: Path) -> None:
    backbone = load(path := vit(prefix=3).save(tmp_path / "net.onnx", "head"))
    norm, block, attention, pooled = reference(path, "norm", "block1", "attention1", "pooled_token")
    taps = ("tokens", "pooled", "cls", "map", "map:avg", "block1:cls", "block1:map", "block1:max", "attention1")
    grid = norm[:, 3:].reshape(4, 4, 4, 8)
    expected = (norm, pooled, norm[:, 0], grid, norm[:, 3:].mean(1), block[:, 0], block[:, 3:].reshape(grid.shape),
                block[:, 3:].max(1), attention)  # fmt: skip
    for one, value in zip(compute(backbone, *taps), expected, strict=True):
        assert close(one, value)


def test_maps_and_tokens_of_one_convolution_together(tmp_path: Path) -> None:
    """OpenVINO gave other tokens when the patches were an output, too."""
    backbone = load(path := vit(prefix=0).save(tmp_path / "net.onnx", "head"))
    patches, norm, head = reference(path, "patches", "norm", "head")
    for _ in range(3):
        got = compute(backbone, "patches", "tokens", "head")
        assert [close(*pair) for pair in zip(got, (patches.transpose(0, 2, 3, 1), norm, head), strict=True)] == [
            True
        ] * 3


def test_the_outline(tmp_path: Path) -> None:
    outline = load(vit().save(tmp_path / "net.onnx", "norm", "head")).outline()
    assert outline.tokens is not None
    assert outline.tokens.describe() == "class token, 4 x 4 patches"
    assert outline.tap_shape("map") == (4, 4, 8)
    assert {name: outline.shapes[name] for name in ("tokens", "pooled", "block1", "up1")} == {
        "tokens": (17, 8), "pooled": (8,), "block1": (17, 8), "up1": (17, 16),
    }  # fmt: skip
    cuts = [cut for cut in outline.cuts if cut.name in {"block1", "norm"}]
    assert [cut.name for cut in cuts] == ["block1", "norm"]
    assert cuts[0].remaining_work == pytest.approx((13328 + 40) / (6144 + 2 * 13328 + 40))
    assert cuts[0].bytes_per_image_float16 == 17 * 8 * 2


def test_an_unpooled_transformer(tmp_path: Path) -> None:
    backbone = load(path := vit().save(tmp_path / "net.onnx", "norm"))
    (norm,) = reference(path, "norm")
    assert close(compute(backbone, "pooled")[0], norm[:, 0])
    assert backbone.recipe["pooling"] == "class token"
    assert "which the network itself does not pool" in backbone.spec.note


def test_layers_and_unknown_taps(tmp_path: Path) -> None:
    backbone = load(cnn().save(tmp_path / "net.onnx", "head"))
    assert ("relu2", (5, 5, 12)) in backbone.layers()
    with pytest.raises(UnknownNameError, match=r"unknown tap 'relu3'.*relu2"):
        backbone.tap_graph(["relu3"])
    with pytest.raises(ConfigError, match="expected a list of one or more"):
        backbone.tap_graph([])
    with pytest.raises(ConfigError, match="the network has no tokens"):
        backbone.tap_graph(["tokens"])


def test_it_is_no_network_of_keras(tmp_path: Path) -> None:
    backbone = load(cnn().save(tmp_path / "net.onnx", "head"))
    for method in (backbone.network, backbone.classifier, lambda: backbone.tap_model(["pooled"])):
        with pytest.raises(ConfigError, match="is a network of OpenVINO, and this needs one of Keras"):
            method()


def test_a_pickle_reads_the_file_again(tmp_path: Path) -> None:
    backbone = load(cnn().save(tmp_path / "net.onnx", "head"))
    again = pickle.loads(pickle.dumps(backbone))
    assert not again.is_built
    assert again.recipe == backbone.recipe
    assert np.array_equal(compute(again, "pooled")[0], compute(backbone, "pooled")[0])


def test_without_default_features_nodes_can_be_taps(tmp_path: Path) -> None:
    net = cnn()
    net.dense(net.dense("flat", 12, 2000, "wide"), 2000, 3, "last")
    backbone = load(path := net.save(tmp_path / "net.onnx", "last"))
    for tap in ("pooled", "map"):
        with pytest.raises(ConfigError, match=rf"tap '{tap}' of .*net.onnx: 48 % of its work .* 'relu2'"):
            backbone.check_tap(tap)
    (relu,) = reference(path, "relu2")
    assert close(compute(backbone, "relu2:avg")[0], relu.mean((2, 3)))
    assert "has no map, tokens or pooled vector by default" in backbone.spec.note


def test_channels_last_input(tmp_path: Path) -> None:
    net = Network(["n", 16, 16, 3])
    value = net.add("Transpose", "image", perm=[0, 3, 1, 2])
    net.add("Transpose", net.conv(value, 3, 4, 3, "conv"), perm=[0, 2, 3, 1], name="last")
    backbone = load(path := net.save(tmp_path / "net.onnx", "last"))
    does = arithmetic("torch:v1")
    prepared = (IMAGES * np.array(does.scale) + np.array(does.offset)).astype(np.float32)
    (expected,) = run(onnx.load(path), prepared, ["last"])
    assert all(close(one, expected) for one in compute(backbone, "map", "last", "conv"))
