"""Every kind of network goes into every format of one Keras model, and says the same there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from featurebank import load_backbone
from featurebank.grafting.converters import for_inference, quiet
from featurebank.grafting.formats import FORMATS

pytestmark = pytest.mark.heavy

SIZE = 16
AS_LAYERS = [name for name, kind in FORMATS.items() if kind.needs_layers]


def classified(x: Any, activation: str = "relu") -> Any:
    x = layers.Dense(5, activation=activation)(layers.GlobalAveragePooling2D()(x))
    return layers.Dense(3, activation="softmax")(x)


def normalised() -> Any:
    """EfficientNet's beginning: a `Normalization` that was never adapted, and one whose mean is no small constant."""
    image = keras.Input((SIZE, SIZE, 3))
    mean = np.random.default_rng(0).uniform(0, 99, (SIZE, SIZE, 3))
    x = layers.Normalization(axis=(1, 2, 3), mean=mean, variance=9 * np.ones_like(mean))(layers.Normalization()(image))
    return keras.Model(image, classified(layers.Conv2D(4, 3, activation="swish")(layers.Rescaling(1 / 25)(x))))


def convnext() -> Any:
    """One block of ConvNeXt; more of them are made of the same layers."""
    from keras.src.applications.convnext import ConvNeXt

    network = ConvNeXt(
        depths=[0, 1, 0, 0], projection_dims=[4, 4, 8, 8], input_shape=(32, 32, 3), include_top=False, weights=None
    )
    return keras.Model(network.input, classified(network.output))


def gelu() -> Any:
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, classified(layers.Conv2D(4, 3)(layers.Rescaling(1 / 25)(image)), "gelu"))


def augmented() -> Any:
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip()(image))
    x = layers.GaussianNoise(0.1)(layers.RandomBrightness(0.1)(layers.RandomContrast(0.2)(layers.RandomZoom(0.2)(x))))
    return keras.Model(image, classified(layers.Dropout(0.5)(layers.Conv2D(4, 3)(layers.Rescaling(1 / 25)(x)))))


def known(name: str) -> Callable[[], Any]:
    def build() -> Any:
        network = load_backbone(name, weights="random:0", image_size=64).tap_model(["pooled"])
        return keras.Model(network.input, layers.Dense(3, activation="softmax")(network.output["pooled"]))

    return build


def answers(network: Any) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).uniform(0, 255, (5, *network.input.shape[1:])).astype(np.float32)
    return images, np.asarray(network(images, training=False))


def difference(path: Path, network: Any, name: str) -> float:
    """How far a file is from its network on five images."""
    images, expected = answers(network)
    FORMATS[name].write(for_inference(network), path, "{}")
    run, text = FORMATS[name].read(path)
    assert text == "{}"
    return float(np.abs(run(images).probabilities - expected).max())


@cache
def built(build: Callable[[], Any]) -> Any:
    """The network of a function, built once; not to be changed."""
    keras.utils.set_random_seed(0)
    network = build()
    answers(network)  # TensorFlow greets when it compiles for the first time
    return network


@pytest.mark.parametrize("name", AS_LAYERS)
@pytest.mark.parametrize("build", [normalised, convnext, gelu, augmented])
def test_small_networks(build: Callable[[], Any], name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network = built(build)
    capfd.readouterr()
    assert difference(tmp_path / f"m{FORMATS[name].suffix}", network, name) < 1e-5
    assert "".join(capfd.readouterr()) == "", "converters have nothing to say to our users"


@pytest.mark.slow
@pytest.mark.parametrize("name", AS_LAYERS)
@pytest.mark.parametrize("network", ["efficientnet_b0", "convnext_tiny"])
def test_known_networks(network: str, name: str, tmp_path: Path) -> None:
    assert difference(tmp_path / f"m{FORMATS[name].suffix}", known(network)(), name) < 1e-5


def test_what_augments_is_left_out() -> None:
    network = augmented()
    plain = for_inference(network)
    assert not [layer.name for layer in plain.layers if type(layer).__name__.startswith("Random")]
    assert len(plain.layers) == len(network.layers) - 5
    assert for_inference(plain) is plain


def test_openvino_as_its_manual_opens_it_computes_in_float32(tmp_path: Path) -> None:
    """By itself it takes bfloat16 where the processor has it, unless each operation says otherwise."""
    import openvino

    network, path = built(convnext), tmp_path / "m.xml"
    images = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype(np.float32)
    FORMATS["openvino"].write(network, path, '{"a": "<&\\n"}')
    assert FORMATS["openvino"].read(path)[1] == '{"a": "<&\\n"}'
    found = openvino.Core().compile_model(path, "CPU")(images)[0]
    assert np.abs(found - np.asarray(network(images, training=False))).max() < 1e-5
    _is_marked(path)


def test_openvino_keeps_dense_layers_exact_that_it_would_fuse_with_their_bias(tmp_path: Path) -> None:
    import openvino

    keras.utils.set_random_seed(0)
    image, path = keras.Input((8, 8, 3)), tmp_path / "m.xml"
    x = keras.layers.Dense(6, "relu", bias_initializer="normal")(keras.layers.Flatten()(image))
    network = keras.Model(image, keras.layers.Dense(4, "softmax", bias_initializer="normal")(x))
    images = np.random.default_rng(0).uniform(0, 9, (5, 8, 8, 3)).astype(np.float32)
    FORMATS["openvino"].write(network, path, "{}")
    model = openvino.Core().read_model(path)
    added = [
        [source.get_node().get_type_name() for source in node.input_values()]
        for node in model.get_ops()
        if node.get_type_name() == "Add"
    ]
    assert sum("MatMul" in types for types in added) == 2
    assert not any({"MatMul", "Constant"} <= set(types) for types in added)
    compiled = openvino.Core().compile_model(model, "CPU")
    for batch in (images, images[:1]):
        np.testing.assert_allclose(compiled(batch)[0], np.asarray(network(batch, training=False)), atol=1e-5)
    _is_marked(path)


def _is_marked(path: Path) -> None:
    """Every operation of a file asks for float32."""
    text = path.read_text(encoding="utf-8")
    assert text.count("<layer ") == len(re.findall(r'<attribute name="precise" version="0"', text))


def test_silence_ends(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(2, b"unheard")
        message = "again"
        raise ValueError(message)

    with quiet():
        os.write(1, b"unheard")
    with pytest.raises(ValueError, match="again"), quiet():
        fail()
    os.write(2, b"heard")
    assert "".join(capfd.readouterr()) == "heard"
