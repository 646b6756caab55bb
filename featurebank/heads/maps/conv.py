"""The conv head: convolutions, batch normalisation and max pooling on the map, then dense layers and softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.keras_layers import activated, weighted
from featurebank.heads.maps.base import NO_BIAS, WHERE, MapHead, normalized_activation, plain, sizes, vectors
from featurebank.heads.maps.network import train_maps_together
from featurebank.heads.maps.on_maps import times
from featurebank.system.validation import ParameterCheck, choice, listed
from featurebank.training.options import batch_norm_position
from featurebank.training.stems import Layer, edges, kernel_name

PADDINGS = ("valid", "same")
REDUCTIONS = ("flatten", "avg", "max")


@dataclass(kw_only=True, eq=False, repr=False)
class ConvHead(MapHead):
    """Convolutions with an activation, batch normalisation and max pooling, then what `MapHead` has.

    Args:
        filters: of each convolution; one number for one.
        kernel_size: side of the kernels; a list has one for each convolution.
        padding: "valid" or "same".
        conv_batch_norm: normalise each filter over the batch and the places, "before" its activation (as true does) or
            "after" it.
        pool_size: side of the max pooling after the last convolution; a list has one for each (1 for none). What is
            left over at the lower and right edge is not looked at, as in Keras.
        reduce: how the last map becomes a vector: "flatten", or "avg" or "max" over its places.
        hidden_units: see `MapHead`, as for the dense layers' other parameters.
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    filters: int | Sequence[int] = 256
    kernel_size: int | Sequence[int] = 3
    padding: str = "valid"
    conv_batch_norm: bool | str = True
    pool_size: int | Sequence[int] = 2
    reduce: str = "flatten"

    train_heads = staticmethod(train_maps_together)

    def conv_layers(self) -> tuple[Layer, ...]:
        """Returns the convolutions."""
        filters = listed(self.filters)
        kernels = listed(self.kernel_size) * (1 if isinstance(self.kernel_size, list | tuple) else len(filters))
        pools = listed(self.pool_size)
        if not isinstance(self.pool_size, list | tuple):
            pools = [1] * (len(filters) - 1) + pools
        return tuple(Layer(*sides) for sides in zip(filters, kernels, pools, strict=True))

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        count = len(self.filters) if isinstance(self.filters, list | tuple) else 1
        return [
            *super().checks(),
            sizes("filters", self.filters),
            *(_for_each(name, getattr(self, name), count) for name in ("kernel_size", "pool_size")),
            choice("padding", self.padding, PADDINGS),
            choice("conv_batch_norm", plain(self.conv_batch_norm), WHERE),
            choice("reduce", self.reduce, REDUCTIONS),
        ]

    def stem_key(self) -> tuple[Any, ...]:
        """Returns what the program of the stem depends on."""
        return ("conv", self.conv_layers(), self.padding, batch_norm_position(self.conv_batch_norm), self.reduce)

    def stem_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem; a kernel is (side * side * channels, filters)."""
        found: dict[str, tuple[int, ...]] = {}
        channels, beside = shape[-1], vectors(batch_norm_position(self.conv_batch_norm))
        for number, (layer, _) in enumerate(self._sides(shape)):
            found[kernel_name(number)] = (layer.kernel**2 * channels, layer.filters)
            found |= {f"{name}_conv{number}": (layer.filters,) for name in beside}
            channels = layer.filters
        return found

    def fans(self, name: str, shape: tuple[int, ...]) -> int:
        """Returns how many weights lead into a unit of a kernel and out of one of its inputs, together."""
        numbers = {kernel_name(number): layer.kernel**2 for number, layer in enumerate(self.conv_layers())}
        return shape[0] + numbers.get(name, 1) * shape[1]

    def stem_units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        layer, (height, width) = self._sides(shape)[-1]
        places = (height // layer.pool) * (width // layer.pool) if self.reduce == "flatten" else 1
        return places * layer.filters

    def stem_floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map while it is trained."""
        sides, channels, found = self._sides(shape), shape[-1], 0
        for number, (layer, (height, width)) in enumerate(sides):
            patches = layer.kernel**2 * channels if number else 0  # those of the first layer are shared
            found += height * width * (patches + 6 * layer.filters)
            channels = layer.filters
        return found

    def stem_cost(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns about how many multiply-adds the stem takes for one map, and how many numbers it makes of it."""
        adds, channels, places = 0, shape[-1], math.prod(shape[:-1])
        for layer in self.conv_layers():
            adds += places * layer.kernel**2 * channels * layer.filters
            channels = layer.filters
        return adds, channels * (places // 4 if self.reduce == "flatten" else 1)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tells whether a head that is fitted can answer for maps of the shape (h, w, c)."""
        return shape == self.map_shape_ if self.reduce == "flatten" else super().fits(shape)

    def stem_answer(self, X: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c)."""
        for number, layer in enumerate(self.conv_layers()):
            patches = _patches(X, layer.kernel, self.padding)
            X = patches @ tensors[kernel_name(number)] + tensors.get(f"bias_conv{number}", NO_BIAS)
            X = normalized_activation(self.activation, self.conv_batch_norm, X, tensors, f"conv{number}")
            X = _pooled(X, layer.pool)
        if self.reduce == "flatten":
            return X.reshape(len(X), -1)
        return np.asarray(X.mean((1, 2)) if self.reduce == "avg" else X.max((1, 2)))

    def stem_layers(self, tensor: Any) -> Any:
        """Adds the convolutions to a graph; see `MapHead.stem_layers`."""
        import keras

        position = batch_norm_position(self.conv_batch_norm)
        for number, layer in enumerate(self.conv_layers()):
            side, name = layer.kernel, f"conv{number}"
            kernel = self.tensors_[kernel_name(number)].reshape(side, side, -1, layer.filters)
            bias = self.tensors_.get(f"bias_{name}", np.zeros(layer.filters))  # none before batch normalisation
            convolution = keras.layers.Conv2D(layer.filters, side, padding=self.padding, name=f"head_{name}")
            tensor = weighted(convolution, tensor, [kernel, bias])
            tensor = activated(tensor, self.activation, position, self.tensors_, name)
            if layer.pool > 1:
                tensor = keras.layers.MaxPooling2D(layer.pool, name=f"head_{name}_pool")(tensor)
        reductions = {
            "flatten": keras.layers.Flatten,
            "avg": keras.layers.GlobalAveragePooling2D,
            "max": keras.layers.GlobalMaxPooling2D,
        }
        return reductions[self.reduce](name="head_reduce")(tensor)

    def _sides(self, shape: tuple[int, ...]) -> list[tuple[Layer, tuple[int, int]]]:
        """Returns each convolution with height and width of what it makes, before its pooling.

        Raises:
            HeadError: nothing would be left of the map.
        """
        found, sides = [], (shape[0], shape[1])
        for number, layer in enumerate(self.conv_layers(), 1):
            lost = layer.kernel - 1 if self.padding == "valid" else 0
            before, sides = sides, (sides[0] - lost, sides[1] - lost)
            if min(sides) < layer.pool:
                message = (
                    f"convolution {number} ({layer.kernel} x {layer.kernel}, {self.padding}, pooling {layer.pool}) "
                    f"leaves nothing of a map of {times(before)}: take a smaller kernel_size or pool_size, or "
                    'padding = "same"'
                )
                raise HeadError(message)
            found.append((layer, sides))
            sides = (sides[0] // layer.pool, sides[1] // layer.pool)
        return found


def _patches(X: np.ndarray, kernel: int, padding: str) -> np.ndarray:
    """Returns the patches (b, h', w', kernel * kernel * c) that a convolution multiplies by its kernel."""
    if padding == "same":
        X = np.pad(X, ((0, 0), edges(kernel, padding), edges(kernel, padding), (0, 0)))
    height, width = X.shape[1] - kernel + 1, X.shape[2] - kernel + 1
    corners = [(i, j) for i in range(kernel) for j in range(kernel)]
    return np.concatenate([X[:, i : i + height, j : j + width] for i, j in corners], axis=-1)


def _pooled(X: np.ndarray, side: int) -> np.ndarray:
    if side == 1:
        return X
    count, height, width, channels = X.shape[0], X.shape[1] // side, X.shape[2] // side, X.shape[3]
    cut = X[:, : height * side, : width * side]
    return np.asarray(cut.reshape(count, height, side, width, side, channels).max((2, 4)))


def _for_each(name: str, value: Any, count: int) -> ParameterCheck:
    """Checks for a whole number, or one for each convolution."""
    check = sizes(name, value)
    holds = check.holds and (not isinstance(value, list | tuple) or len(value) == count)
    return check._replace(holds=holds, expected=f"a whole number of 1 or more, or a list of {count}, one a convolution")
