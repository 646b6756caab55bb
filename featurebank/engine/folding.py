"""Batch normalisation folded into the convolution before it: the same function, with less to do for each image.

Nothing is rebuilt: the network stays as it is and is given other values. Where y = BN(W * x + b), the convolution gets
W' = W s with s = gamma / sqrt(variance + epsilon), and BN becomes the addition of (b - mean) s + beta, by a gamma
and a variance whose product is one; TensorFlow leaves out a multiplication by constant ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from featurebank.backbone.graph import graph_of

_KERNELS = {"Conv2D": 0, "DepthwiseConv2D": 0, "SeparableConv2D": 1, "Dense": 0}
"""Layers whose output is linear in one of their kernels, and the place of that kernel among their weights."""


def folded_values(model: Any) -> dict[int, np.ndarray]:
    """Returns the values of a network's variables with every batch normalisation folded where that is exact.

    That is where a normalisation takes the output of a convolution or a dense layer that has no activation, is used
    once, and whose output goes nowhere else and is not asked for. Others keep their values.

    Args:
        model: a functional Keras model whose outputs are a dictionary.

    Returns:
        By the id() of the variable; arithmetic is done in float64, values have the variable's own type.
    """
    values = {id(variable): np.asarray(variable) for variable in model.variables}
    for worker, normalisation in _pairs(model):
        changed = _fold(worker, normalisation)
        if all(np.isfinite(value).all() for value in changed.values()):
            values.update(changed)
    return values


def _pairs(model: Any) -> Iterator[tuple[Any, Any]]:
    """Finds each layer that can take up the normalisation after it."""
    config = model.get_config()
    calls = {entry["name"]: len(entry["inbound_nodes"]) for entry in config["layers"]}
    asked = {layer for layer, *_ in config["output_layers"].values()}
    layers = {layer.name: layer for layer in model.layers}
    for name, followers in graph_of(model).followers.items():
        if name not in layers or len(followers) != 1 or followers[0] not in layers or name in asked:
            continue
        worker, next_one = layers[name], layers[followers[0]]
        if calls[name] == calls[next_one.name] == 1 and _is_linear(worker) and _is_normalisation(next_one):
            yield worker, next_one


def _is_linear(layer: Any) -> bool:
    import keras

    kinds = {getattr(keras.layers, kind) for kind in _KERNELS}
    return type(layer) in kinds and layer.activation is keras.activations.linear and _last(layer)


def _last(layer: Any) -> bool:
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_normalisation(layer: Any) -> bool:
    import keras

    return type(layer) is keras.layers.BatchNormalization and layer.axis in {-1, len(layer.output.shape) - 1}


def _fold(worker: Any, normalisation: Any) -> dict[int, np.ndarray]:
    """Returns the new values of the variables of both layers."""
    mean, variance = (
        np.asarray(value).astype(np.float64) for value in (normalisation.moving_mean, normalisation.moving_variance)
    )
    scale = 1 / np.sqrt(variance + normalisation.epsilon)
    if normalisation.scale:
        scale *= np.asarray(normalisation.gamma)
    bias = np.zeros_like(mean)
    changed: dict[int, np.ndarray] = {}
    if worker.use_bias:
        bias += np.asarray(worker.bias)
        changed[id(worker.bias)] = np.zeros_like(mean)
    kernel = worker.weights[_KERNELS[type(worker).__name__]]
    depthwise = (
        type(worker).__name__ == "DepthwiseConv2D"
    )  # its outputs are the last two axes: (.., inputs, multiplier)
    factors = scale.reshape(kernel.shape[2:]) if depthwise else scale
    changed[id(kernel)] = np.asarray(kernel).astype(np.float64) * factors
    # (x - mean) * (gamma / sqrt(variance + epsilon)) + beta, with a factor of exactly one.
    shift = (bias - mean) * scale
    changed[id(normalisation.moving_variance)] = np.full_like(mean, np.float32(1) - np.float32(normalisation.epsilon))
    changed[id(normalisation.moving_mean)] = np.zeros_like(mean)
    if normalisation.scale:
        changed[id(normalisation.gamma)] = np.ones_like(mean)
    if normalisation.center:
        changed[id(normalisation.beta)] = shift + np.asarray(normalisation.beta)
    else:
        changed[id(normalisation.moving_mean)] = -shift
    with np.errstate(over="ignore"):  # an infinity is not taken
        return {key: value.astype(np.float32) for key, value in changed.items()}
