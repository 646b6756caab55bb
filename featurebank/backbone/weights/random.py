"""Random weights that are identical bits on every machine and with every version of Keras and NumPy.

Keras's own initialisers depend on its backend and version, and NumPy guarantees a stable stream only for the raw words
of a bit generator. So each kernel is computed from raw Philox words by integer arithmetic: the sum of four 16-bit
numbers has the bell shape of a normal distribution within +-3.5 deviations, and is exact.

References:
    K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", 2015, arXiv:1502.01852 (the variance, 2 / fan-in).
    J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (Philox).
    P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677 (small last gamma of residual branches).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.graph import graph_of, leaf_layers
from featurebank.backbone.weights.random_tokens import draw_of, owners_of
from featurebank.errors import ConfigError

MAX_SEED = 2**64 - 1

_WORDS = 1 << 15
_HALVES = 4
_EVEN_HALVES = np.uint64(0x0000_FFFF_0000_FFFF)
_LOWER_HALF = np.uint64(0xFFFF_FFFF)
_CENTRE = _HALVES * 65535 / 2
_DEVIATION = math.sqrt(_HALVES * (65536**2 - 1) / 12)
_BRANCH_SCALE = 0.25
_MATRIX = 2
_OPEN_GATE = 4.0
_CONSTANTS = {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
_KERNELS = {"kernel", "depthwise_kernel", "pointwise_kernel"}
_ENDS_OF_MAPS = frozenset({"BatchNormalization", "Conv2D"})
_ENDS_OF_TOKENS = frozenset({
    "Conv2D", "Dense", "EinsumDense", "GroupedQueryAttention", "GroupQueryAttention", "MultiHeadAttention",
})  # fmt: skip
_DEPTHWISE = {"DepthwiseConv2D", "SeparableConv2D"}


def fill_with_random(model: Any, seed: int, *, is_transformer: bool = False) -> None:
    """Sets the weights of a network from a seed.

    Kernels get the variance 2 / fan-in, normalisations the identity, biases zero. The output of a residual branch is
    scaled by a quarter; otherwise the activations of a network with 50 additions would exceed float16. The gates of
    squeeze-and-excitation start open; otherwise each would lose half of the signal. Constants of a network's
    preprocessing keep their values. For attention, embeddings and layers of other classes, see `random_tokens`.

    Args:
        model: a Keras functional model; changed in place.
        seed: from 0 to `MAX_SEED`.
        is_transformer: whether the last features are tokens; then kernels of all layers get the variance 1 / fan-in.

    Raises:
        ConfigError: a layer has weights of an unknown kind.
    """
    branches = _ends_of_branches(model, _ENDS_OF_TOKENS if is_transformer else _ENDS_OF_MAPS)
    index = 0
    for layer in leaf_layers(model):
        values = []
        for weight in layer.weights:
            branch = layer.name in branches
            known = None if is_transformer else _value(layer, weight, seed, index, branch=branch)
            values.append(_of_tokens(layer, weight, seed, index, branch=branch) if known is None else known)
            index += 1
        if values:
            layer.set_weights(values)


def bell(seed: int, index: int, count: int) -> np.ndarray:
    """Returns `count` float32 numbers with mean 0 and variance 1, identical everywhere for the same (seed, index)."""
    generator = np.random.Philox(key=np.array([seed, index], dtype=np.uint64))
    numbers = np.empty(count, np.float32)
    for start in range(0, count, _WORDS):  # pieces that stay in the processor's cache
        words = np.asarray(generator.random_raw(min(_WORDS, count - start)), dtype=np.uint64)
        sums = _sums_of_halves(words).astype(np.float64)
        sums -= _CENTRE
        sums /= _DEVIATION
        numbers[start : start + _WORDS] = sums
    return numbers


def _sums_of_halves(words: np.ndarray) -> np.ndarray:
    """Returns the sum of the four 16-bit numbers of each 64-bit word, by additions of whole arrays."""
    pairs = (words & _EVEN_HALVES) + ((words >> np.uint64(16)) & _EVEN_HALVES)
    sums: np.ndarray = (pairs & _LOWER_HALF) + (pairs >> np.uint64(32))
    return sums


def _of_tokens(layer: Any, weight: Any, seed: int, index: int, *, branch: bool) -> np.ndarray:
    """Returns the value of a weight by the laws of transformers."""
    owner, shape = owners_of(layer)[id(weight)], tuple(weight.shape)
    if type(owner).__name__ == "Normalization" or not str(weight.dtype).startswith(("float", "bfloat")):
        return np.asarray(weight.numpy())
    if weight.name in _CONSTANTS and len(shape) < _MATRIX and "LayerScale" not in type(owner).__name__:
        return np.full(shape, _CONSTANTS[weight.name], np.float32)
    draw = draw_of(owner, weight)
    if draw is None:
        message = (
            f"layer '{layer.name}' of class {type(layer).__name__} has weights '{weight.name}', which random:SEED "
            "cannot fill: use the network's own weights"
        )
        raise ConfigError(message)
    if not draw.deviation:
        return np.full(shape, draw.constant, np.float32)
    ends = branch and weight.name.endswith("kernel")
    return bell(seed, index, math.prod(shape)).reshape(shape) * np.float32(
        draw.deviation * (_BRANCH_SCALE if ends else 1)
    )


def _value(layer: Any, weight: Any, seed: int, index: int, *, branch: bool) -> np.ndarray | None:
    """Returns the value of a weight by the laws of networks of maps; None for other kinds of weights."""
    shape = tuple(weight.shape)
    kind = type(layer).__name__
    if weight.name in _KERNELS:
        depthwise = kind in _DEPTHWISE and weight.name != "pointwise_kernel"
        fan_in = math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])
        deviation = np.float32(math.sqrt(2 / fan_in) * (_BRANCH_SCALE if branch else 1))
        return bell(seed, index, math.prod(shape)).reshape(shape) * deviation
    if kind == "LayerScale" or (branch and weight.name == "gamma"):
        return np.full(shape, _BRANCH_SCALE, np.float32)
    if weight.name == "bias" and _is_gate(layer):
        return np.full(shape, _OPEN_GATE, np.float32)
    if weight.name in _CONSTANTS:
        return np.full(shape, _CONSTANTS[weight.name], np.float32)
    if kind == "Normalization":
        return np.asarray(weight.numpy())
    return None


def _is_gate(layer: Any) -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", "") == "sigmoid"


def _ends_of_branches(model: Any, ends_in: Collection[str]) -> set[str]:
    """Returns the layers of some classes whose output goes only into an addition."""
    followers = graph_of(model).followers
    layers = model.layers if ends_in is _ENDS_OF_MAPS else model.operations
    kinds = {layer.name: type(layer).__name__ for layer in layers}

    def ends(name: str) -> bool:
        """Returns whether only additions follow the layer, perhaps after a dropout."""
        after = followers[name]
        return bool(after) and all(kinds.get(f) == "Add" or (kinds.get(f) == "Dropout" and ends(f)) for f in after)

    return {name for name in followers if kinds.get(name) in ends_in and ends(name)}
