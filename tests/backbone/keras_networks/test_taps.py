"""The taps of a Keras network of tokens, beside the same computed by numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from featurebank.backbone.keras_networks.taps import tap_tensors
from featurebank.backbone.outline import Outline, TokenLayout
from featurebank.errors import ConfigError

TAPS = ["pooled", "tokens", "cls", "map", "tokens:avg", "map:max", "middle", "middle:cls", "patch:max", "middle:map"]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Seven tokens: a class token, two registers, 2 x 2 patches; the class token, doubled, is pooled."""
    image = keras.Input((4, 4, 3))
    patches = layers.Conv2D(5, 2, strides=2, name="patch")(image)
    flat = layers.Reshape((4, 5), name="flat")(patches)
    middle = layers.ZeroPadding1D((3, 0), name="middle")(flat)
    last = layers.LayerNormalization(name="last", beta_initializer=keras.initializers.RandomNormal(seed=1))(middle)
    return keras.Model(image, layers.Rescaling(2.0)(layers.Flatten()(layers.Cropping1D((0, 6))(last))))


def test_taps_of_tokens(network: keras.Model) -> None:
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in network.layers}
    layout = TokenLayout.of_grid((2, 2), 3, has_class_token=True)
    outline = Outline((), shapes | {"tokens": (7, 5), "pooled": (5,)}, layout)
    tensors = tap_tensors(network, TAPS, outline, "", tokens_layer="last")
    images = np.random.default_rng(0).random((3, 4, 4, 3), np.float32)
    got = {tap: value.numpy() for tap, value in keras.Model(network.input, tensors)(images).items()}
    assert {tap: value.shape[1:] for tap, value in got.items()} == {tap: outline.tap_shape(tap) for tap in TAPS}
    tokens = got["tokens"]
    np.testing.assert_array_equal(got["pooled"], 2 * tokens[:, 0])
    np.testing.assert_array_equal(got["cls"], tokens[:, 0])
    np.testing.assert_array_equal(got["map"], tokens[:, 3:].reshape(3, 2, 2, 5))
    np.testing.assert_allclose(got["tokens:avg"], tokens[:, 3:].mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got["map:max"], tokens[:, 3:].max(1))
    np.testing.assert_array_equal(got["middle:cls"], got["middle"][:, 0])
    np.testing.assert_array_equal(got["middle:map"].max((1, 2)), got["patch:max"])
    with pytest.raises(ConfigError, match="has no class token"):
        tap_tensors(network, ["flat:cls"], outline, "", tokens_layer="last")


def test_taps_are_a_list(network: keras.Model) -> None:
    for taps in ("pooled", []):
        with pytest.raises(ConfigError, match="expected a list of one or more"):
            tap_tensors(network, taps, Outline((), {"map": (1, 1, 1)}), "")
