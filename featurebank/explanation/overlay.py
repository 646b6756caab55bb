"""Heat maps over pictures: where the network's square lies in an image, and how heat is drawn.

Colours are those of Matplotlib's "inferno": evenly spaced for the eye, distinct with any kind of colour blindness, and
in the order of brightness, so that they survive a copy in grey.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from featurebank.backbone.resize import placement

_INFERNO = (
    (0, 0, 3), (31, 12, 71), (85, 15, 109), (136, 33, 106), (186, 54, 85), (227, 88, 50), (249, 140, 9), (248, 201, 49),
    (252, 254, 164),
)  # fmt: skip
"""The colours of 0, 1/8, ..., 1; those between them are interpolated."""
_STRONGEST = 0.75
"""The opacity of the strongest heat: the photo stays visible under it."""
_GREY = 0.6
"""How far colours of the photo are drawn to grey, so that the colours of the heat stand out."""
_UNSEEN = 0.4
"""How far the part of the photo that the network does not see is drawn to white."""


class Frame(NamedTuple):
    """How an image became the square input of a network."""

    width: int
    """Of the original image in pixels."""
    height: int
    size: int
    """The side of the square in pixels."""
    rule: str
    """The identifier of the resize rule."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, upper, right and lower edge of the part that the network sees, as fractions of the image's sides."""
        left, upper, right, lower = self._placement[0]
        return left / self.width, upper / self.height, right / self.width, lower / self.height

    @property
    def inside(self) -> tuple[float, float, float, float]:
        """The edges of that part in the square, as fractions of its side; outside of them the square is black."""
        _, (width, height), (left, upper) = self._placement
        return left / self.size, upper / self.size, (left + width) / self.size, (upper + height) / self.size

    @property
    def _placement(self) -> tuple[tuple[float, float, float, float], tuple[int, int], tuple[int, int]]:
        if self.width == self.height == self.size:  # it is not resized, whatever the rule
            return (0, 0, self.size, self.size), (self.size, self.size), (0, 0)
        return placement(self.rule, self.width, self.height, self.size)


def spread(heat: np.ndarray, frame: Frame, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Lays a heat map over a picture of an image, smoothly.

    Args:
        heat: (h, w) float32 from 0 to 1, over the network's square.
        frame: how the image became the square.
        width: the width of the picture in pixels; it may be smaller than the image, but with its proportions.
        height: the height of the picture.

    Returns:
        The heat of each pixel, (height, width) float32, 0 where the network does not see the image; and whether the
        network sees it, (height, width) bool.

    Example:
        >>> heat, seen = spread(np.ones((7, 7), np.float32), Frame(40, 20, 20, "whole:bicubic:antialias:v1"), 40, 20)
        >>> heat[0, [0, 9, 10, 29, 30]].tolist(), int(seen.sum())
        ([0.0, 0.0, 1.0, 1.0, 0.0], 400)
    """
    left, upper, right, lower = (
        round(edge * side) for edge, side in zip(frame.box, (width, height, width, height), strict=True)
    )
    right, lower = max(right, left + 1), max(lower, upper + 1)
    rows, columns = heat.shape
    part = tuple(edge * side for edge, side in zip(frame.inside, (columns, rows, columns, rows), strict=True))
    smooth = Image.fromarray(np.ascontiguousarray(heat, np.float32)).resize(
        (right - left, lower - upper), Image.Resampling.BICUBIC, box=part
    )
    spread_heat, seen = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    place = slice(upper, lower), slice(left, right)
    spread_heat[place] = np.clip(np.asarray(smooth), 0, 1)
    seen[place] = True
    return spread_heat, seen


def overlaid(picture: np.ndarray, heat: np.ndarray, frame: Frame) -> np.ndarray:
    """Draws a heat map over a picture of an image.

    Args:
        picture: (height, width, 3) uint8: the image, or a thumbnail with its proportions.
        heat: (h, w) float32 from 0 to 1, over the network's square.
        frame: how the image became the square.

    Returns:
        (height, width, 3) uint8. Strong heat is bright and opaque, and what is not hot stays the photo, with paler
        colours. What the network does not see, because its square is only a part of the image, is white fog.
    """
    strength, seen = spread(heat, frame, picture.shape[1], picture.shape[0])
    photo = picture.astype(np.float32)
    grey = photo @ np.array([0.299, 0.587, 0.114], np.float32)
    photo += _GREY * (grey[..., None] - photo)
    photo[~seen] += _UNSEEN * (255 - photo[~seen])
    opacity = _STRONGEST * strength[..., None]
    return np.asarray(np.rint(photo + opacity * (colours(strength) - photo)), np.uint8)


def colours(heat: np.ndarray) -> np.ndarray:
    """Returns the colour of each heat from 0 to 1: (..., 3) float32 from 0 to 255.

    Example:
        >>> colours(np.array([0.0, 1.0])).tolist()
        [[0.0, 0.0, 3.0], [252.0, 254.0, 164.0]]
    """
    steps = np.linspace(0, 1, len(_INFERNO))
    return np.stack([np.interp(heat, steps, channel) for channel in zip(*_INFERNO, strict=True)], -1).astype(np.float32)
