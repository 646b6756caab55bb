"""The stems of heads on maps: what turns a map into the vector that the dense layers take.

Each stem says what it computes three times, side by side: in numpy (`answer`, for a trained head), in TensorFlow
(`vectors`, for the training of K heads at once) and in Keras (`layers`, for an exported model).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurebank.heads.joint import Stem
from featurebank.heads.keras_layers import weighted
from featurebank.heads.maps.on_maps import ROWS
from featurebank.system.runtime import import_tensorflow
from featurebank.training.activations import softmax
from featurebank.training.weights import SHARED_KERNEL

GEM_FLOOR = 1e-6
"""Smaller values count as this one: a power of a negative number is not defined."""
_POOLING_ADDS_A_NUMBER = 20

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class MapStem(Stem):
    """Base of the stems on maps."""

    evaluation_rows = ROWS
    program_bytes = 2500 << 20

    def cost(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns about how many multiply-adds the stem takes for one map, and how many numbers it makes of it."""
        return _POOLING_ADDS_A_NUMBER * math.prod(shape), shape[-1]

    def answer(self, X: np.ndarray, tensors: Tensors) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c), in numpy."""
        raise NotImplementedError

    def layers(self, tensor: Any, tensors: Tensors) -> Any:
        """Adds the stem to a graph, as Keras layers: maps (n, h, w, c) -> vectors (n, units)."""
        raise NotImplementedError

    def is_fixed_to_shape(self) -> bool:
        """Returns whether a trained stem takes maps of one height and width only."""
        return False


@dataclass(frozen=True)
class AttentionStem(MapStem):
    """A softmax over the places, one for each query, weighs what goes into the vector; see `AttentionPoolHead`.

    Args:
        queries: how many there are.
    """

    queries: int

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem, for maps of the shape (h, w, c)."""
        return {SHARED_KERNEL: (shape[-1], self.queries)}

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        return self.queries * shape[-1]

    def floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map (h, w, c) while it is trained."""
        return 3 * self.queries * (shape[0] * shape[1] + shape[2])

    def shares(self, flat: np.ndarray, tensors: Tensors) -> np.ndarray:
        """Returns the share of each place in each query's average: (b, queries, places) of maps (b, places, c)."""
        return softmax((flat @ tensors[SHARED_KERNEL]).transpose(0, 2, 1))

    def answer(self, X: np.ndarray, tensors: Tensors) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c), in numpy."""
        flat = X.reshape(len(X), -1, X.shape[-1])
        return np.asarray((self.shares(flat, tensors) @ flat).reshape(len(X), -1))

    def vectors(self, x: Any, run: Any) -> Any:
        """Returns the vectors (K, b, units) of maps (b, h, w, c), in TensorFlow."""
        tf, queries = import_tensorflow(), run.params[SHARED_KERNEL]
        flat = tf.reshape(x, (x.shape[0], -1, x.shape[-1]))
        scores = tf.matmul(flat, tf.reshape(queries, (queries.shape[0], -1)))  # (b, places, K * queries)
        weights = tf.nn.softmax(tf.transpose(scores, (0, 2, 1)))
        averages = tf.reshape(tf.matmul(weights, flat), (x.shape[0], run.heads, -1))
        return tf.transpose(averages, (1, 0, 2))

    def layers(self, tensor: Any, tensors: Tensors) -> Any:
        """Adds the attention to a graph, as Keras layers: maps (n, h, w, c) -> vectors (n, units)."""
        import keras

        places = keras.layers.Reshape((-1, tensor.shape[-1]), name="head_places")(tensor)
        query = keras.layers.Dense(self.queries, use_bias=False, name="head_queries")
        scores = weighted(query, places, [tensors[SHARED_KERNEL]])
        shares = keras.layers.Softmax(axis=1, name="head_shares")(scores)
        averages = keras.layers.Dot(axes=1, name="head_averages")([shares, places])
        return keras.layers.Flatten(name="head_reduce")(averages)


@dataclass(frozen=True)
class GemStem(MapStem):
    """The generalised mean over the places, (mean of x ** p) ** (1 / p); see `GemPoolHead`.

    Args:
        power: the p to begin with, in which the heads of one program may differ.
    """

    power: float = field(compare=False)

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem, for maps of the shape (h, w, c)."""
        return {"power": ()}

    def start(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Returns the first values of a tensor."""
        return np.full(shape, self.power, np.float32) if name == "power" else super().start(name, shape, rng)

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        return shape[-1]

    def floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map (h, w, c) while it is trained."""
        return 2 * math.prod(shape)

    def answer(self, X: np.ndarray, tensors: Tensors) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c), in numpy."""
        power = tensors["power"]
        scaled = power * np.log(np.maximum(X, np.float32(GEM_FLOOR))).reshape(len(X), -1, X.shape[-1])
        largest = scaled.max(1, keepdims=True)  # subtracted, so that no power overflows
        return np.asarray(np.exp((np.log(np.exp(scaled - largest).mean(1)) + largest[:, 0]) / power))

    def vectors(self, x: Any, run: Any) -> Any:
        """Returns the vectors (K, b, units) of maps (b, h, w, c), in TensorFlow."""
        tf = import_tensorflow()
        logs = tf.math.log(tf.maximum(x, GEM_FLOOR))
        flat = tf.reshape(logs, (1, x.shape[0], -1, x.shape[-1]))
        power = run.params["power"][:, None, None]
        mean = tf.reduce_logsumexp(flat * power[..., None], 2) - tf.math.log(float(flat.shape[2]))
        return tf.exp(mean / power)

    def limited(self, params: dict[str, Any]) -> dict[str, Any]:
        """Returns the parameters after a step with powers of 1 or more: below, it would be no mean that grows."""
        return {**params, "power": import_tensorflow().maximum(params["power"], 1.0)}

    def layers(self, tensor: Any, tensors: Tensors) -> Any:
        """Adds the generalised mean to a graph, as Keras operations: maps (n, h, w, c) -> vectors (n, units)."""
        import keras

        power, places = float(tensors["power"]), tensor.shape[1] * tensor.shape[2]
        scaled = power * keras.ops.log(keras.ops.maximum(tensor, GEM_FLOOR))
        return keras.ops.exp((keras.ops.logsumexp(scaled, axis=(1, 2)) - float(np.log(places))) / power)
