"""What a model of one or several networks takes of an image: the square input of each network.

The squares of several networks differ in size, so that they lie one after another in one row of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from featurebank.backbone.resize import resize_image

_IMAGES = 4
"""The number of axes of a batch of images."""


class Square(NamedTuple):
    """The input of one network."""

    size: int
    """Its side in pixels."""
    rule: str
    """The rule that resizes images to it; see `featurebank.backbone.resize`."""

    @property
    def numbers(self) -> int:
        """The number of values of the pixels."""
        return 3 * self.size**2


def squares_of(image: np.ndarray, squares: Sequence[Square]) -> np.ndarray:
    """Returns what a model takes of an image of any size.

    Args:
        image: (height, width, 3) uint8, RGB.
        squares: the input of each network.

    Returns:
        (s, s, 3) uint8 for one network, and a row (numbers,) uint8 for several.

    Example:
        >>> from featurebank.backbone.resize import STRETCH
        >>> image = np.zeros((9, 5, 3), np.uint8)
        >>> squares_of(image, [Square(4, STRETCH)]).shape
        (4, 4, 3)
        >>> squares_of(image, [Square(4, STRETCH), Square(2, STRETCH)]).shape
        (60,)
    """
    found = [resize_image(image, square.size, square.rule) for square in squares]
    return found[0] if len(found) == 1 else np.concatenate([square.ravel() for square in found])


def inputs_of(images: np.ndarray, squares: Sequence[Square]) -> list[np.ndarray]:
    """Returns the input of each of several networks, (n, s, s, 3).

    Args:
        images: (n, numbers), rows of `squares_of`; or (n, height, width, 3) uint8 of any size, which are resized.
        squares: the input of each network.
    """
    if images.ndim == _IMAGES:
        images = np.stack([squares_of(image, squares) for image in images])
    ends = np.cumsum([square.numbers for square in squares])[:-1]
    return [
        part.reshape(-1, square.size, square.size, 3)
        for part, square in zip(np.split(images, ends, axis=1), squares, strict=True)
    ]


def fits(shape: Sequence[int], squares: Sequence[Square]) -> bool:
    """Returns whether an array has the shape of images for several networks; see `inputs_of`."""
    rows = (math.fsum(square.numbers for square in squares),)
    return tuple(shape[1:]) == rows or (len(shape) == _IMAGES and shape[-1] == 3)  # noqa: PLR2004 - RGB
