"""Features of outputs and of inner nodes are those of ONNX Runtime's forward pass on the same file, on 32 images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from featurebank.backbone import BackboneOptions, load_network
from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.backbone.preprocess import DECLARED, arithmetic
from featurebank.system.imports.openvino import compile_model, import_openvino
from featurebank.system.imports.torch import import_torch
from tests.support.onnx_networks import run

pytestmark = pytest.mark.heavy

RELATIVE = 1e-4


def differences(path: Path, preprocessing: str) -> tuple[OpenVINOBackbone, dict[str, float]]:
    """Returns a network, and the largest difference of each of many nodes, relative to the node's largest number."""
    backbone = load_network(str(path), BackboneOptions(preprocessing=preprocessing))
    assert isinstance(backbone, OpenVINOBackbone)
    graph, side = backbone.examined.graph, backbone.image_size
    images = np.random.default_rng(0).integers(0, 256, (32, side, side, 3), dtype=np.uint8)
    named = [node for node in graph.named.values() if node.operation.output(0).get_names()]
    nodes = [*named[:: max(1, len(named) // 12)], *(graph.nodes[place] for place in graph.outputs)]
    taps = [node.name for node in nodes]
    model = backbone.tap_graph(taps)
    model.reshape([len(images), side, side, 3])
    request = compile_model(import_openvino().Core(), model, {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    request.infer([images])
    does = arithmetic(DECLARED[preprocessing])
    prepared = (images * np.array(does.scale) + np.array(does.offset)).astype(np.float32)
    prepared = prepared.transpose(0, 3, 1, 2) if backbone.input.axes == "nchw" else prepared
    expected = run(onnx.load(path), prepared, [min(node.operation.output(0).get_names()) for node in nodes])
    found = {}
    for place, (tap, value) in enumerate(zip(taps, expected, strict=True)):
        got = np.array(request.get_tensor(f"tap_{place}").data)
        orders = [tuple(range(value.ndim)), *([(0, 2, 3, 1)] if value.ndim == 4 else [(0, 2, 1)] * (value.ndim == 3))]
        fits = [value.transpose(order) for order in orders if value.transpose(order).shape == got.shape]
        assert fits, f"{tap}: {got.shape}, expected {value.shape}"
        found[tap] = min(float(np.abs(got - one).max() / max(np.abs(one).max(), 1e-6)) for one in fits)
    return backbone, found


def check(path: Path, preprocessing: str = "torch") -> OpenVINOBackbone:
    backbone, found = differences(path, preprocessing)
    assert len(found) >= 8
    assert {tap: difference for tap, difference in found.items() if difference > RELATIVE} == {}
    return backbone


def save_keras(model: Any, path: Path) -> Path:
    from featurebank.grafting.converters import to_onnx

    path.write_bytes(to_onnx(model, {}).SerializeToString())
    return path


def test_convolutions_of_keras(tmp_path: Path) -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first")(image)
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.BatchNormalization()(
        layers.DepthwiseConv2D(3, padding="same", name="depthwise")(layers.Multiply()([x, gate]))
    )
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="last")(x)
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    backbone = check(save_keras(model, tmp_path / "net.onnx"), "tf")
    assert backbone.outline().tap_shape("map") == (7, 7, 16)
    assert backbone.recipe.get("pooling") is None


def test_a_transformer_of_keras(tmp_path: Path) -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 8, strides=8)(image))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 12)(y, y)])
        y = layers.Dense(48, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(24)(y)])
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))))
    backbone = check(save_keras(model, tmp_path / "net.onnx"), "tf")
    outline = backbone.outline()
    assert (outline.tap_shape("tokens"), outline.tap_shape("map")) == ((16, 24), (4, 4, 24))
    assert backbone.recipe["pooling"] == "mean of patches"


def save_torch(model: Any, side: int, path: Path, *outputs: str) -> Path:
    torch = import_torch()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter warns of itself, and of shapes that it takes for constants
        torch.onnx.export(
            model.eval(), (torch.zeros(2, 3, side, side),), str(path), dynamo=False, input_names=["image"],
            output_names=list(outputs) or ["output"], dynamic_axes={"image": {0: "n"}},
        )  # fmt: skip
    return path


def timm(name: str, side: int, **options: Any) -> Any:
    import_torch().manual_seed(0)
    import timm as library

    return library.create_model(
        name, **({"img_size": side} if "depth" in options or "depths" in options else {}), **options
    )


SMALL = {"embed_dim": 48, "num_heads": 3, "depth": 2}


@pytest.mark.networks
@pytest.mark.parametrize(
    ("name", "side", "options", "shape", "pooling"),
    [
        ("vit_tiny_patch16_224", 64, SMALL, (17, 48), "class token"),
        ("convnext_atto", 64, {}, (2, 2, 320), "normalised mean of patches"),
        ("resnet18", 64, {}, (2, 2, 512), None),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in [
                ("swin_tiny_patch4_window7_224", 56, {"depths": (2, 1, 1, 1)}, (2, 2, 768), None),
                ("mobilenetv3_large_100", 224, {}, (7, 7, 960), "output of '/flatten/Flatten'"),
                ("mobilenetv4_conv_small", 224, {}, (7, 7, 960), "output of '/flatten/Flatten'"),
                ("efficientnet_b0", 96, {}, (3, 3, 1280), None),
                ("vit_base_patch16_siglip_224", 64, SMALL, (16, 48), "attention"),
                ("deit_tiny_distilled_patch16_224", 64, {**SMALL, "num_classes": 0}, (18, 48), None),
                ("vit_small_patch14_reg4_dinov2", 70, {**SMALL, "num_classes": 0}, (30, 48), "class token"),
                ("beit_base_patch16_224", 64, SMALL, (17, 48), "normalised mean of patches"),
            ]
        ),
    ],
)
def test_networks_of_timm(
    name: str, side: int, options: dict[str, Any], shape: tuple[int, ...], pooling: str | None, tmp_path: Path
) -> None:
    backbone = check(save_torch(timm(name, side, **options), side, tmp_path / "net.onnx"))
    outline = backbone.outline()
    assert outline.tap_shape("tokens" if outline.tokens else "map") == shape
    assert pooling is None or backbone.recipe.get("pooling") == pooling


@pytest.mark.networks
@pytest.mark.slow
def test_a_network_of_transformers(tmp_path: Path) -> None:
    import_torch().manual_seed(0)
    from transformers import ViTConfig, ViTModel

    made = ViTModel(
        ViTConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=64)
    )
    path = save_torch(made, 64, tmp_path / "net.onnx", "last_hidden_state", "pooler_output")
    backbone = check(path)
    outline = backbone.outline()
    assert outline.tokens is not None
    assert (outline.tokens.prefix, outline.tokens.grid, backbone.recipe["pooling"]) == (1, (4, 4), "class token")
    assert (outline.shapes["last_hidden_state"], outline.shapes["pooler_output"]) == ((17, 48), (48,))
