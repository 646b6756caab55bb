"""The layers of K heads at once: dense layers with activation, batch normalisation and dropout, after a stem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from featurebank.training.dropout import dropped
from featurebank.training.optimizers import Rule
from featurebank.training.programs.normalisation import batch_statistics, normalized
from featurebank.training.programs.tensors import Tensors

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": tf.nn.relu, "tanh": tf.tanh, "gelu": tf.nn.gelu, "silu": tf.nn.silu, "elu": tf.nn.elu,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.2), "sigmoid": tf.sigmoid, "linear": tf.identity,
}  # fmt: skip

Drop = Callable[[int, Any], Any]
"""Takes the number of a layer and its inputs, and returns them with some units dropped."""


@dataclass(frozen=True)
class Shape:
    """What the heads of one program have in common, beside the sizes of their arrays."""

    stem: Any
    """What turns features into the vectors of the first dense layer; see `featurebank.heads.joint.Stem`."""
    kernels: tuple[str, ...]
    """Names of the kernels of the dense layers, the last one included."""
    activation: str
    normalization: str
    """Position of batch normalisation of the dense layers: "before" or "after" the activation, "" for none."""
    rule: Rule
    dropout: bool
    """Whether any of the heads drops units at all."""
    max_norm: bool
    penalized: bool
    """Whether any of the heads has a penalty on its kernels."""


@dataclass(frozen=True)
class Pass:
    """One pass through the layers, and what it depends on beside the images."""

    shape: Shape
    params: Tensors
    heads: int
    weights: Any = None
    """(b,) of the images in the statistics of the batch, 0 for padding."""
    moving: Tensors | None = None
    """Moving averages to normalise by; None for the statistics of the batch."""
    drop: Drop | None = None
    seen: Tensors = field(default_factory=dict)
    """Receives the statistics of the batch, by the names of the moving averages."""

    def logits(self, x: Any, *, multiplied: bool = False) -> Any:
        """Returns the logits (K, b, classes).

        Args:
            x: (K, b, units) vectors.
            multiplied: whether they are products with the first kernel already.
        """
        last = len(self.shape.kernels) - 1
        for layer, kernel in enumerate(self.shape.kernels):
            if layer or not multiplied:
                x = tf.matmul(self.drop(layer, x) if self.drop else x, self.params[kernel])
            if (bias := f"bias_dense{layer}") in self.params:  # a layer before batch normalisation has none
                x += self.params[bias][:, None]
            if layer < last:
                x = self.activated(x, f"dense{layer}", self.shape.activation, self.shape.normalization)
        return x

    def activated(self, x: Any, name: str, activation: str, normalization: str) -> Any:
        """Applies an activation, and batch normalisation before or after it, to x (K, b, ..., units).

        Args:
            x: outputs of a layer.
            name: of the layer in the names of tensors.
            activation: one of `ACTIVATIONS`.
            normalization: position of batch normalisation: "before", "after" or "" for none.
        """
        if normalization == "before":
            x = self._normalized(x, name)
        x = ACTIVATIONS[activation](x)
        return self._normalized(x, name) if normalization == "after" else x

    def _normalized(self, x: Any, name: str) -> Any:
        mean, variance = f"mean_{name}", f"variance_{name}"
        if self.moving is None:
            self.seen[mean], self.seen[variance] = batch_statistics(x, self.weights)
        statistics = self.seen if self.moving is None else self.moving
        return normalized(x, name, self.params, (statistics[mean], statistics[variance]))


def dropper(shape: Shape, options: Tensors, steps: Any) -> Drop | None:
    """Returns the function that drops units in a step; None where no head drops any."""
    if not shape.dropout:
        return None
    first = int(shape.stem.is_empty)  # vectors are dropped only where no layer follows the first

    def drop(layer: int, values: Any) -> Any:
        return dropped(values, options["dropout"][:, max(layer - first, 0)], layer, options["seed"], steps)

    return drop
