"""Heads that learn how to pool a map: by attention over its places, or by a generalised mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.heads.keras_layers import weighted
from featurebank.heads.maps.base import MapHead
from featurebank.heads.maps.network import train_maps_together
from featurebank.heads.maps.stored import blocks, in_order
from featurebank.system.validation import ParameterCheck, count, number
from featurebank.training.activations import softmax
from featurebank.training.stems import GEM_FLOOR


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionPoolHead(MapHead):
    """A softmax over the places of the map, one for each query, weighs what goes into the vector.

    A query is a vector of one weight a channel; its score at a place is their product. The averages that the queries
    take, side by side, are what the dense layers see.

    Args:
        queries: how many.
        hidden_units: see `MapHead`, as for the dense layers' other parameters.
        learning_rate: see `TrainingOptions`, as for all the others.

    References:
        Ilse, Tomczak, Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, arXiv:1802.04712.
    """

    queries: int = 1

    train_heads = staticmethod(train_maps_together)

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        return [*super().checks(), count("queries", self.queries)]

    def stem_key(self) -> tuple[Any, ...]:
        """Returns what the program of the stem depends on."""
        return ("attention", self.queries)

    def stem_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem."""
        return {"kernel0": (shape[-1], self.queries)}

    def stem_units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        return self.queries * shape[-1]

    def stem_floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map while it is trained."""
        return 3 * self.queries * (shape[0] * shape[1] + shape[2])

    def stem_answer(self, X: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c)."""
        flat = X.reshape(len(X), -1, X.shape[-1])
        return np.asarray((self._weights(flat, tensors) @ flat).reshape(len(X), -1))

    def stem_layers(self, tensor: Any) -> Any:
        """Adds the attention to a graph; see `MapHead.stem_layers`."""
        import keras

        places = keras.layers.Reshape((-1, tensor.shape[-1]), name="head_places")(tensor)
        query = keras.layers.Dense(self.queries, use_bias=False, name="head_queries")
        scores = weighted(query, places, [self.tensors_["kernel0"]])
        shares = keras.layers.Softmax(axis=1, name="head_shares")(scores)
        averages = keras.layers.Dot(axes=1, name="head_averages")([shares, places])
        return keras.layers.Flatten(name="head_reduce")(averages)

    def attention_maps(self, X: Any) -> np.ndarray:
        """Returns the share of each place in each query's average: (n, h, w, queries).

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        maps = self._maps(X)
        height, width = maps.shape[1:3]
        found = [np.empty((0, height, width, self.queries), np.float32)]
        for block in blocks(maps, in_order(maps, 64)):
            flat = self.prepared(block).reshape(len(block), -1, maps.shape[-1])
            weights = self._weights(flat, self.tensors_)
            found.append(weights.transpose(0, 2, 1).reshape(-1, height, width, self.queries))
        return np.concatenate(found)

    def _weights(self, flat: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        return softmax((flat @ tensors["kernel0"]).transpose(0, 2, 1))


@dataclass(kw_only=True, eq=False, repr=False)
class GemPoolHead(MapHead):
    """The generalised mean over the places, (mean of x ** p) ** (1 / p), with a learned p of 1 or more.

    p = 1 is average pooling, a large p comes near max pooling. Values below 1e-6 count as that: on maps after a ReLU
    that is all as it should be, and features are not standardised.

    Args:
        power: the p to begin with.
        hidden_units: see `MapHead`, as for the dense layers' other parameters.
        learning_rate: see `TrainingOptions`, as for all the others.

    References:
        Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018,
        arXiv:1711.02512.
    """

    power: float = 3.0

    train_heads = staticmethod(train_maps_together)

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        unscaled = ParameterCheck(
            "standardize", self.standardize, "false: a power of a negative number is none", not self.standardize
        )
        least = number("power", self.power)
        holds = least.holds and float(self.power) >= 1
        return [*super().checks(), least._replace(expected="a number of 1 or more", holds=holds), unscaled]

    def stem_key(self) -> tuple[Any, ...]:
        """Returns what the program of the stem depends on."""
        return ("gem",)

    def stem_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem."""
        return {"power": ()}

    def stem_start(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Returns the first values of a tensor of the stem."""
        return np.full(shape, self.power, np.float32) if name == "power" else super().stem_start(name, shape, rng)

    def stem_units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        return shape[-1]

    def stem_floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map while it is trained."""
        return 2 * int(np.prod(shape))

    def stem_answer(self, X: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c)."""
        power = tensors["power"]
        scaled = power * np.log(np.maximum(X, np.float32(GEM_FLOOR))).reshape(len(X), -1, X.shape[-1])
        largest = scaled.max(1, keepdims=True)  # taken out, so that no power overflows
        return np.asarray(np.exp((np.log(np.exp(scaled - largest).mean(1)) + largest[:, 0]) / power))

    def stem_layers(self, tensor: Any) -> Any:
        """Adds the generalised mean to a graph; see `MapHead.stem_layers`."""
        import keras

        power, places = float(self.tensors_["power"]), tensor.shape[1] * tensor.shape[2]
        scaled = power * keras.ops.log(keras.ops.maximum(tensor, GEM_FLOOR))
        return keras.ops.exp((keras.ops.logsumexp(scaled, axis=(1, 2)) - float(np.log(places))) / power)
