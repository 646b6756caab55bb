"""Heads that are trained side by side in one program: a stem, then dense layers, the last one softmax.

A stem turns the features of an image into the vector that the first dense layer takes. For features that are vectors
already it is empty (`VectorStem`); the stems of heads on maps are in `featurebank.heads.maps`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from featurebank.heads.trained import TrainedHead

BATCH_NORMS = (True, False, "before", "after")
"""Positions of batch normalisation: before the activation (as true), after it, or nowhere."""
NO_BIAS = np.float32(0)


@dataclass(frozen=True)
class Stem:
    """Base of all stems; equal stems share a program. `run` is a `featurebank.training.programs.layers.Pass`."""

    is_empty: ClassVar[bool] = False
    """Whether the first dense layer takes the features as they are."""
    multiplies_patches: ClassVar[bool] = False
    """Whether "kernel0" multiplies `patches` of the features before `vectors` is called with the products."""

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem, for features of a shape.

        Kernels, whose names begin with "kernel", are penalised; "kernel0", if there is one, multiplies what all heads
        share.

        Raises:
            HeadError: the features are too small.
        """
        return {}

    def start(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Returns the first values of a tensor: Glorot uniform kernels, gammas of 1, else 0.

        References:
            Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
        """
        if name.startswith("gamma"):
            return np.ones(shape, np.float32)
        if not name.startswith("kernel"):
            return np.zeros(shape, np.float32)
        limit = np.sqrt(6 / self.fans(name, shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    def fans(self, name: str, shape: tuple[int, ...]) -> int:
        """Returns the sum of a kernel's fan-in and fan-out."""
        return shape[0] + shape[1]

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of the features of one image."""
        raise NotImplementedError

    def patches(self, x: Any) -> Any:
        """Returns the patches (b, ..., inputs) of a batch that "kernel0" multiplies, in TensorFlow."""
        raise NotImplementedError

    def vectors(self, x: Any, run: Any) -> Any:
        """Returns the vectors (K, b, units) of K heads for a batch, in TensorFlow."""
        raise NotImplementedError

    def limited(self, params: dict[str, Any]) -> dict[str, Any]:
        """Returns the parameters of K heads after a step, brought back into their ranges, in TensorFlow."""
        return params


@dataclass(frozen=True)
class VectorStem(Stem):
    """The empty stem: the features are vectors."""

    is_empty = True

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the number of features; maps are flattened."""
        return math.prod(shape)


@dataclass(kw_only=True, eq=False, repr=False)
class JointHead(TrainedHead):
    """Base of the heads that have a stem and dense layers.

    Args:
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    def stem(self) -> Stem:
        """Returns what turns the features of an image into the vector that the dense layers take."""
        return VectorStem()

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        raise NotImplementedError

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return "relu"

    def normalization(self) -> tuple[str, float]:
        """Returns the position of batch normalisation ("before" or "after" the activation, or ""), and its momentum."""
        return "", 0.0

    def dropout_rates(self) -> tuple[float, ...]:
        """Returns the dropout rate of each place that has one."""
        rate: Any = getattr(self, "dropout", 0.0)
        if isinstance(rate, Sequence):
            return tuple(map(float, rate))
        return (float(rate),) * self.dropout_places()

    def dropout_places(self) -> int:
        """Returns the number of places that have a dropout rate."""
        raise NotImplementedError

    def kernel_names(self) -> tuple[str, ...]:
        """Returns the names of the kernels of the dense layers; "kernel0" multiplies what all heads share."""
        names = [f"kernel_dense{layer}" for layer in range(len(self.layer_sizes()) + 1)]
        return ("kernel0", *names[1:]) if self.stem().is_empty else tuple(names)

    def shapes(self, shape: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor that is trained, for features of a shape."""
        stem, position = self.stem(), self.normalization()[0]
        found = stem.shapes(shape)
        sizes = (stem.units(shape), *self.layer_sizes(), classes)
        for layer, (kernel, size) in enumerate(zip(self.kernel_names(), pairwise(sizes), strict=True)):
            found[kernel] = size
            beside = unit_tensors(position if layer < len(sizes) - 2 else "")
            found |= {f"{name}_dense{layer}": size[1:] for name in beside}
        return found


def unit_tensors(position: str) -> tuple[str, ...]:
    """Returns the tensors that a layer has beside its kernel, with one number for each unit.

    A layer before batch normalisation, which subtracts every constant again, has no bias: its gradient would be
    nothing but rounding, and Adam would make steps of full length of that.

    Args:
        position: of batch normalisation; see `batch_norm_position`.
    """
    return {"": ("bias",), "before": ("gamma", "beta"), "after": ("bias", "gamma", "beta")}[position]
