"""The outline of a network: the shape of every layer, and its cut points, without the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurebank.backbone.taps import parse_tap
from featurebank.errors import unknown_name


@dataclass(frozen=True)
class CutPoint:
    """A layer where a network can be cut in two.

    Args:
        name: name of the layer.
        shape: shape of its output for one image.
        bytes_per_image_float16: size of that output in float16.
        remaining_work: the fraction of the network's multiply-adds that follow, from 0 to 1.
    """

    name: str
    shape: tuple[int, ...]
    bytes_per_image_float16: int
    remaining_work: float


@dataclass(frozen=True)
class Outline:
    """The layers of a network, without the network.

    Args:
        cuts: see `cut_points`.
        shapes: shape of each layer's output for one image, and of `map`.
    """

    cuts: tuple[CutPoint, ...]
    shapes: Mapping[str, tuple[int, ...]]

    def tap_shape(self, tap: str, hint: str = "") -> tuple[int, ...]:
        """Returns the shape of one row of a tap.

        Args:
            tap: "pooled", "map", "LAYER", "LAYER:avg" or "LAYER:max".
            hint: how to list the names of the layers, for messages.

        Raises:
            ConfigError: the tap is malformed.
            UnknownNameError: no layer has this name.
        """
        source, pooling = parse_tap(tap)
        if source not in self.shapes:
            raise unknown_name("tap", source, ["pooled", *self.shapes], hint)
        shape = self.shapes[source]
        return shape[-1:] if pooling else shape
