"""Batch normalisations are folded where that is exact, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import small

from featurebank.engine.folding import folded_values
from featurebank.system.runtime import import_tensorflow
from tests.engine.conftest import difference, images

pytestmark = pytest.mark.heavy

NORMALISED = ("gamma", "moving_mean")


def folded(model: Any, batch: np.ndarray) -> dict[str, np.ndarray]:
    """What a network gives with its folded values."""
    tf = import_tensorflow()
    values = folded_values(model)
    groups = (model.trainable_variables, model.non_trainable_variables)
    weights = [[tf.constant(values[id(variable)]) for variable in group] for group in groups]
    found, _ = tf.function(model.stateless_call, autograph=False)(*weights, tf.constant(batch), training=False)
    return {name: value.numpy() for name, value in found.items()}


def plain(model: Any, batch: np.ndarray) -> dict[str, np.ndarray]:
    tf = import_tensorflow()
    found = tf.function(model, autograph=False)(tf.constant(batch), training=False)
    return {name: value.numpy() for name, value in found.items()}


def count_folded(model: Any) -> int:
    """How many normalisations only add: their factor is one."""
    import keras

    values = folded_values(model)
    found = 0
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization:
            variance = values[id(layer.moving_variance)]
            gamma = values[id(layer.gamma)] if layer.scale else 1
            found += bool(np.all(gamma / np.sqrt(variance + np.float32(layer.epsilon)) == 1))
    return found


@pytest.mark.parametrize(
    ("name", "normalisations"),
    [
        ("efficientnet_lite0", 49),
        pytest.param("resnet50", 53, marks=pytest.mark.slow),  # chains like those of `mobilenet_v2`, with more weights
        ("mobilenet_v2", 52),
        pytest.param("densenet121", 59, marks=pytest.mark.slow),  # of 121: the others are the case "before" below
        ("vgg16", 0),
    ],
)
def test_families(name: str, normalisations: int) -> None:
    model = small(name).tap_model(["pooled", "map"])
    batch = images(2).astype(np.float32)
    before, after = plain(model, batch), folded(model, batch)
    assert all(difference(after[tap], before[tap]) <= 1e-5 for tap in before)
    assert count_folded(model) == normalisations


def made(build: Any, *, size: int = 6, seed: int = 0) -> Any:
    """A network of an input and whatever `build` puts on it, with random weights."""
    import_tensorflow()
    import keras

    inputs = keras.Input((size, size, 3))
    model = keras.Model(inputs, build(keras.layers, inputs))
    random = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def normalise(layers: Any, x: Any, **options: Any) -> Any:
    return layers.BatchNormalization(**options)(x)


FOLDED = {
    "bias": lambda k, x: {"out": normalise(k, k.Conv2D(4, 3)(x))},
    "no bias": lambda k, x: {"out": normalise(k, k.Conv2D(4, 3, use_bias=False)(x))},
    "no scale": lambda k, x: {"out": normalise(k, k.Conv2D(4, 3)(x), scale=False)},
    "no center": lambda k, x: {"out": normalise(k, k.Conv2D(4, 3)(x), center=False)},
    "depthwise": lambda k, x: {"out": normalise(k, k.DepthwiseConv2D(3, depth_multiplier=2)(x))},
    "separable": lambda k, x: {"out": normalise(k, k.SeparableConv2D(5, 3)(x))},
    "groups": lambda k, x: {"out": normalise(k, k.Conv2D(6, 1, groups=3)(x))},
    "dense": lambda k, x: {"out": normalise(k, k.Dense(4)(x))},
}


def shared(k: Any, x: Any) -> dict[str, Any]:
    convolution = k.Conv2D(3, 1)
    return {"out": k.Add()([normalise(k, convolution(x)), convolution(normalise(k, x))])}


def tapped(k: Any, x: Any) -> dict[str, Any]:
    before = k.Conv2D(4, 3)(x)
    return {"out": normalise(k, before), "before": before}


def branched(k: Any, x: Any) -> dict[str, Any]:
    before = k.Conv2D(4, 3)(x)
    return {"out": k.Add()([normalise(k, before), before])}


KEPT = {
    "activation": lambda k, x: {"out": normalise(k, k.Conv2D(4, 3, activation="relu")(x))},
    "before": lambda k, x: {"out": k.Conv2D(4, 3)(normalise(k, x))},
    "pooled between": lambda k, x: {"out": normalise(k, k.MaxPooling2D()(k.Conv2D(4, 3)(x)))},
    "other axis": lambda k, x: {"out": normalise(k, k.Conv2D(6, 1)(x), axis=1)},
    "shared": shared,
    "tapped": tapped,
    "branched": branched,
}


@pytest.mark.parametrize("case", [*FOLDED, *KEPT])
def test_exact_cases(case: str) -> None:
    model = made({**FOLDED, **KEPT}[case])
    batch = np.random.default_rng(1).normal(size=(3, 6, 6, 3)).astype(np.float32)
    before, after = plain(model, batch), folded(model, batch)
    assert all(difference(after[name], before[name]) <= 2e-6 for name in before)
    assert count_folded(model) == (case in FOLDED)


def test_what_would_overflow_is_left_alone() -> None:
    model = made(FOLDED["no bias"])
    kernel, gamma = model.layers[1].kernel, model.layers[2].gamma
    kernel.assign(np.full(kernel.shape, 1e30))
    gamma.assign(np.full(gamma.shape, 1e30))
    assert np.array_equal(folded_values(model)[id(kernel)], np.asarray(kernel))
