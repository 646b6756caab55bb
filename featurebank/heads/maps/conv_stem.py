"""The stem of conv heads: convolutions with activation, batch normalisation and max pooling, then a reduction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.joint import NO_BIAS, unit_tensors
from featurebank.heads.keras_layers import activated, weighted
from featurebank.heads.maps.on_maps import times
from featurebank.heads.maps.stems import MapStem, Tensors
from featurebank.system.runtime import import_tensorflow
from featurebank.training.activations import normalized_activation
from featurebank.training.weights import SHARED_KERNEL


class Layer(NamedTuple):
    """One convolution."""

    filters: int
    kernel: int
    """Side of the kernel."""
    pool: int
    """Side of the windows of its max pooling; 1 for none."""


@dataclass(frozen=True)
class ConvStem(MapStem):
    """Convolutions with an activation, batch normalisation and max pooling, then a reduction.

    Args:
        convolutions: in their order.
        padding: "valid" or "same".
        normalization: position of batch normalisation: "before" or "after" the activation, "" for none.
        activation: of all convolutions.
        reduction: "flatten", or "avg" or "max" over the places of the last map.
    """

    convolutions: tuple[Layer, ...]
    padding: str
    normalization: str
    activation: str
    reduction: str

    multiplies_patches = True

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem; a kernel is (side * side * channels, filters)."""
        tensors: dict[str, tuple[int, ...]] = {}
        channels, beside = shape[-1], unit_tensors(self.normalization)
        for number, (layer, _) in enumerate(self._sides(shape)):
            tensors[_kernel_name(number)] = (layer.kernel**2 * channels, layer.filters)
            tensors |= {f"{name}_conv{number}": (layer.filters,) for name in beside}
            channels = layer.filters
        return tensors

    def fans(self, name: str, shape: tuple[int, ...]) -> int:
        """Returns the sum of a kernel's fan-in and fan-out."""
        numbers = {_kernel_name(number): layer.kernel**2 for number, layer in enumerate(self.convolutions)}
        return shape[0] + numbers.get(name, 1) * shape[1]

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        layer, (height, width) = self._sides(shape)[-1]
        places = (height // layer.pool) * (width // layer.pool) if self.reduction == "flatten" else 1
        return places * layer.filters

    def floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map (h, w, c) while it is trained."""
        sides, channels, total = self._sides(shape), shape[-1], 0
        for number, (layer, (height, width)) in enumerate(sides):
            patches = layer.kernel**2 * channels if number else 0  # those of the first layer are shared
            total += height * width * (patches + 6 * layer.filters)
            channels = layer.filters
        return total

    def cost(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns about how many multiply-adds the stem takes for one map, and how many numbers it makes of it."""
        adds, channels, places = 0, shape[-1], math.prod(shape[:-1])
        for layer in self.convolutions:
            adds += places * layer.kernel**2 * channels * layer.filters
            channels = layer.filters
        return adds, channels * (places // 4 if self.reduction == "flatten" else 1)

    def is_fixed_to_shape(self) -> bool:
        """Returns whether a trained stem takes maps of one height and width only."""
        return self.reduction == "flatten"

    def answer(self, X: np.ndarray, tensors: Tensors) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c), in numpy."""
        for number, layer in enumerate(self.convolutions):
            patches = self._patches(X, layer.kernel, np.pad, np.concatenate)
            X = patches @ tensors[_kernel_name(number)] + tensors.get(f"bias_conv{number}", NO_BIAS)
            X = normalized_activation(self.activation, self.normalization, X, tensors, f"conv{number}")
            X = _max_pooled(X, layer.pool, np.maximum)
        if self.reduction == "flatten":
            return X.reshape(len(X), -1)
        return np.asarray(X.mean((1, 2)) if self.reduction == "avg" else X.max((1, 2)))

    def patches(self, x: Any) -> Any:
        """Returns the patches of maps (b, h, w, c) that the first kernels of all heads are multiplied with."""
        tf = import_tensorflow()
        return self._patches(x, self.convolutions[0].kernel, tf.pad, tf.concat)

    def vectors(self, x: Any, run: Any) -> Any:
        """Returns the vectors (K, b, units) of the products (b, h, w, K * filters) with the first kernels."""
        tf = import_tensorflow()
        count, height, width = x.shape[:3]
        x = tf.transpose(tf.reshape(x, (count, height, width, run.heads, -1)), (3, 0, 1, 2, 4))
        for number, layer in enumerate(self.convolutions):
            if number:
                patches = self._patches(x, layer.kernel, tf.pad, tf.concat)
                flat = tf.reshape(patches, (run.heads, -1, patches.shape[-1]))
                x = tf.reshape(tf.matmul(flat, run.params[_kernel_name(number)]), (*patches.shape[:4], layer.filters))
            if (bias := f"bias_conv{number}") in run.params:
                x += run.params[bias][:, None, None, None]
            x = run.activated(x, f"conv{number}", self.activation, self.normalization)
            x = _max_pooled(x, layer.pool, tf.maximum)
        if self.reduction == "flatten":
            return tf.reshape(x, (run.heads, count, -1))
        return tf.reduce_mean(x, (2, 3)) if self.reduction == "avg" else tf.reduce_max(x, (2, 3))

    def layers(self, tensor: Any, tensors: Tensors) -> Any:
        """Adds the convolutions to a graph, as Keras layers: maps (n, h, w, c) -> vectors (n, units)."""
        import keras

        for number, layer in enumerate(self.convolutions):
            side, name = layer.kernel, f"conv{number}"
            kernel = tensors[_kernel_name(number)].reshape(side, side, -1, layer.filters)
            bias = tensors.get(f"bias_{name}", np.zeros(layer.filters))  # none before batch normalisation
            convolution = keras.layers.Conv2D(layer.filters, side, padding=self.padding, name=f"head_{name}")
            tensor = weighted(convolution, tensor, [kernel, bias])
            tensor = activated(tensor, self.activation, self.normalization, tensors, name)
            if layer.pool > 1:
                tensor = keras.layers.MaxPooling2D(layer.pool, name=f"head_{name}_pool")(tensor)
        reductions = {
            "flatten": keras.layers.Flatten,
            "avg": keras.layers.GlobalAveragePooling2D,
            "max": keras.layers.GlobalMaxPooling2D,
        }
        return reductions[self.reduction](name="head_reduce")(tensor)

    def _patches(self, x: Any, kernel: int, pad: Any, concatenate: Any) -> Any:
        """Returns the patches (..., h', w', kernel * kernel * c) of maps (..., h, w, c), of numpy or TensorFlow."""
        if self.padding == "same":
            outer, edges = len(x.shape) - 3, ((kernel - 1) // 2, kernel // 2)
            x = pad(x, [*[(0, 0)] * outer, edges, edges, (0, 0)])
        height, width = x.shape[-3] - kernel + 1, x.shape[-2] - kernel + 1
        corners = [(i, j) for i in range(kernel) for j in range(kernel)]
        return concatenate([x[..., i : i + height, j : j + width, :] for i, j in corners], -1)

    def _sides(self, shape: tuple[int, ...]) -> list[tuple[Layer, tuple[int, int]]]:
        """Returns each convolution with height and width of what it makes, before its pooling.

        Raises:
            HeadInputError: nothing would be left of the map.
        """
        outputs, sides = [], (shape[0], shape[1])
        for number, layer in enumerate(self.convolutions, 1):
            border = layer.kernel - 1 if self.padding == "valid" else 0
            before, sides = sides, (sides[0] - border, sides[1] - border)
            if min(sides) < layer.pool:
                message = (
                    f"convolution {number} ({layer.kernel} x {layer.kernel}, {self.padding}, pooling {layer.pool}) "
                    f"leaves nothing of a map of {times(before)}: take a smaller kernel_size or pool_size, or "
                    'padding = "same"'
                )
                raise HeadInputError(message)
            outputs.append((layer, sides))
            sides = (sides[0] // layer.pool, sides[1] // layer.pool)
        return outputs


def _kernel_name(number: int) -> str:
    """Returns the name of the kernel of a convolution; the first one multiplies what all heads share."""
    return f"kernel_conv{number}" if number else SHARED_KERNEL


def _max_pooled(x: Any, side: int, maximum: Any) -> Any:
    """Returns the maxima of windows of `side` x `side` of maps (..., h, w, c), of numpy or TensorFlow.

    Where several numbers of a window are equal, the first takes the gradient. What is left over at the lower and right
    edge is not looked at, as in Keras.
    """
    height, width = x.shape[-3] // side * side, x.shape[-2] // side * side
    corners = [(i, j) for i in range(side) for j in range(side)]
    return reduce(maximum, [x[..., i:height:side, j:width:side, :] for i, j in corners])
