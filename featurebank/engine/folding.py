"""Folds batch normalisation into the preceding convolution: the same function, with less work per image.

The network itself stays as it is; only the values of its variables change. Where y = BN(W * x + b), the convolution
gets W' = W s with s = gamma / sqrt(variance + epsilon), and BN becomes the addition of (b - mean) s + beta, by a gamma
and a variance whose product is one; TensorFlow optimizes a multiplication by constant ones away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.graph import graph_of

_KERNELS = {"Conv2D": 0, "DepthwiseConv2D": 0, "SeparableConv2D": 1, "Dense": 0}
"""Layers whose output is linear in one of their kernels, and the index of that kernel among their weights."""


def folded_values(model: Any) -> dict[int, np.ndarray]:
    """Returns the values of a network's variables, with every batch normalisation folded where that is exact.

    Folding is exact if the normalisation takes the output of a convolution or a dense layer without activation, and if
    both layers are called once and the first one's output goes nowhere else. Other layers keep their values.

    Args:
        model: a functional Keras model whose outputs are a dictionary.

    Returns:
        Values by the id() of their variable, in the variable's own dtype; the arithmetic is in float64.
    """
    values = {id(variable): np.asarray(variable) for variable in model.variables}
    for worker, normalisation in _pairs(model):
        changed = _fold(worker, normalisation)
        if all(np.isfinite(value).all() for value in changed.values()):
            values.update(changed)
    return values


def _pairs(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the pairs of a linear layer and the normalisation that can be folded into it."""
    config = model.get_config()
    calls = {entry["name"]: len(entry["inbound_nodes"]) for entry in config["layers"]}
    outputs = {layer for layer, *_ in config["output_layers"].values()}
    layers = {layer.name: layer for layer in model.layers}
    for name, followers in graph_of(model).followers.items():
        if name not in layers or len(followers) != 1 or followers[0] not in layers or name in outputs:
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
    """Returns the new values of both layers' variables."""
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
    with np.errstate(over="ignore"):  # the caller rejects infinities
        return {key: value.astype(np.float32) for key, value in changed.items()}
