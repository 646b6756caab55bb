"""The conv head: convolutions, batch normalisation and max pooling on the map, then dense layers and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurebank.heads.joint import BATCH_NORMS, plain
from featurebank.heads.maps.base import MapHead, sizes
from featurebank.heads.maps.conv_stem import ConvStem, Layer
from featurebank.heads.maps.network import train_maps_together
from featurebank.system.validation import ParameterCheck, choice, listed
from featurebank.training.options import batch_norm_position

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

    train_heads = train_maps_together

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
            choice("conv_batch_norm", plain(self.conv_batch_norm), BATCH_NORMS),
            choice("reduce", self.reduce, REDUCTIONS),
        ]

    def stem(self) -> ConvStem:
        """Returns what turns a map into the vector that the dense layers take."""
        position = batch_norm_position(self.conv_batch_norm)
        return ConvStem(self.conv_layers(), self.padding, position, self.activation, self.reduce)


def _for_each(name: str, value: Any, count: int) -> ParameterCheck:
    """Checks for a whole number, or one for each convolution."""
    check = sizes(name, value)
    holds = check.holds and (not isinstance(value, list | tuple) or len(value) == count)
    schema = {"anyOf": [check.schema, {"type": "array", "items": check.schema}]}
    expected = f"a whole number of 1 or more, or a list of {count}, one a convolution"
    return check._replace(holds=holds, schema=schema, expected=expected)
