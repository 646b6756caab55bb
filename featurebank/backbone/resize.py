"""Resizing: how an image of any size becomes the square input of a network.

A rule decides which part of the image fills which part of the square, and how pixels are interpolated, always with
Pillow's antialiasing. The rule's identifier is in the recipe of every bank and in every model file, so a change of a
rule needs a new identifier. Networks of other libraries were trained with rules of their own, which `central` names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from featurebank.errors import ConfigError, DatasetError, unknown_name

CROP = "crop:0.875:bicubic:antialias:v1"
"""The central square, 7/8 of the shorter side; the default for banks before `AUTO`."""

AUTO = "crop:0.875:small-whole:bicubic:antialias:v1"
"""`CROP`, but `WHOLE` for an image whose shorter side is at most the network's input: it has no pixels to spare.

Measured with EfficientNet-Lite0 on 200 ImageNet sample images, top-1: `CROP` .900, `WHOLE` .860, `STRETCH` .830. On
500 flower photos, logistic regression on `pooled`, 5-fold: `CROP` .8955, `STRETCH` .885. On 2000 images of CIFAR-10 at
224 pixels, `WHOLE` was better than `CROP` for each of ten heads, by 1.3 points on average.
"""

WHOLE = "whole:bicubic:antialias:v1"
"""The central square over the whole of the shorter side."""

STRETCH = "stretch:bicubic:antialias:v1"
"""The whole image; each axis is scaled independently."""

PAD = "pad:black:bicubic:antialias:v1"
"""The whole image with its aspect ratio, in the middle of a black square."""

RULES = {"auto": AUTO, "crop": CROP, "whole": WHOLE, "stretch": STRETCH, "pad": PAD}
"""The identifiers by the users' words."""

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""The interpolations of `central`."""
_CENTRAL = re.compile(rf"(shorter|stretch):([1-9]\d{{0,4}}):({'|'.join(INTERPOLATIONS)}):antialias:centre(-down)?:v1")

TALL_VERTICALLY_FIRST = int(PIL.__version__.partition(".")[0]) >= 13  # noqa: PLR2004 - a version
"""Whether Pillow does the vertical pass first if the height loses more than twice as many pixels as the width.

Older versions always do the horizontal pass first; pixels are rounded between the two passes.
"""

_CHANNELS = 3
_CROP = 0.875


class Placement(NamedTuple):
    """The part of an image that is shown, and its place in the square; the rest of the square is black."""

    box: tuple[float, float, float, float]
    """Left, upper, right and lower edge in the image, in pixels from its upper left corner."""
    size: tuple[int, int]
    """Width and height of that part in the square, in pixels."""
    corner: tuple[int, int]
    """Left and upper edge in the square."""


@dataclass(frozen=True)
class Central:
    """The image is scaled, and the square in its middle is taken: what torchvision, timm and transformers do.

    Args:
        form: "shorter" scales the shorter side to `side`, and the longer one with it, to whole pixels; "stretch" scales
            both sides to `side`.
        side: in pixels; a side smaller than that of the square means the latter.
        interpolation: one of `INTERPOLATIONS`.
        rounds_down: how the corner of the square becomes whole pixels: down, as in transformers, or half to even, as in
            torchvision and timm.
    """

    form: str
    side: int
    interpolation: str
    rounds_down: bool = False

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Returns the width and the height of the scaled image in pixels."""
        if self.form == "stretch":
            return self.side, self.side
        short = min(width, height)
        return int(self.side * width / short), int(self.side * height / short)


def central(form: str, side: int, interpolation: str, *, rounds_down: bool = False) -> str:
    """Returns the identifier of the rule of a `Central`.

    Raises:
        ConfigError: a value is none of those that `Central` takes.

    Example:
        >>> central("shorter", 256, "bilinear"), central("shorter", 256, "bilinear", rounds_down=True)
        ('shorter:256:bilinear:antialias:centre:v1', 'shorter:256:bilinear:antialias:centre-down:v1')
    """
    rule = f"{form}:{side}:{interpolation}:antialias:centre{'-down' if rounds_down else ''}:v1"
    if not _CENTRAL.fullmatch(rule):
        message = (
            f"images are resized by '{form}' to {side} pixels, {interpolation}: expected shorter or stretch, and one "
            f"of {', '.join(INTERPOLATIONS)}; choose another rule, as --resize auto"
        )
        raise ConfigError(message)
    return rule


def central_of(rule: str) -> Central | None:
    """Returns the parts of an identifier of `central`; None if it is another one."""
    match = _CENTRAL.fullmatch(rule)
    return Central(match[1], int(match[2]), match[3], bool(match[4])) if match else None


def rule_of(word: str | None, own: str = AUTO) -> str:
    """Returns the identifier of a rule.

    Args:
        word: the user's word for it, or an identifier, as a bank records it; None means the network's own.
        own: the identifier of the network's own rule.

    Raises:
        UnknownNameError: there is no such rule.
    """
    if word is None:
        return own
    if word in RULES.values() or central_of(word):
        return word
    if word not in RULES:
        raise unknown_name("resize rule", word, RULES)
    return RULES[word]


def word_of(rule: str) -> str:
    """Returns the user's word for a rule, or the identifier itself where there is none.

    Raises:
        ConfigError: this featurebank does not know the rule.
    """
    for word, known in RULES.items():
        if rule == known:
            return word
    if central_of(rule):
        return rule
    message = f"images were resized by the rule '{rule}', which this featurebank does not know: install a newer one"
    raise ConfigError(message)


def placement(rule: str, width: int, height: int, size: int) -> Placement:
    """Computes which part of an image goes to which part of the square.

    Args:
        rule: one of the identifiers above.
        width: width of the image in pixels.
        height: height of the image in pixels.
        size: the side of the square in pixels.
    """
    if rule == AUTO:
        rule = WHOLE if min(width, height) <= size else CROP
    if rule == STRETCH:
        return Placement((0, 0, width, height), (size, size), (0, 0))
    if rule == PAD:
        longer = max(width, height)
        inner = (max(1, round(width * size / longer)), max(1, round(height * size / longer)))
        return Placement((0, 0, width, height), inner, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    if rule == WHOLE:
        # Whole pixels: an image as high as the square is cropped, not interpolated.
        short = min(width, height)
        left, upper = (width - short) // 2, (height - short) // 2
        return Placement((left, upper, left + short, upper + short), (size, size), (0, 0))
    if parts := central_of(rule):
        return Placement(_central_box(parts, width, height, size), (size, size), (0, 0))
    assert rule == CROP, f"no such resize rule: {rule}"
    side = _CROP * min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return Placement((x, y, x + side, y + side), (size, size), (0, 0))


def _central_box(parts: Central, width: int, height: int, size: int) -> tuple[float, float, float, float]:
    """Returns the part of the image whose scaled pixels are the central square."""
    across, down = replace(parts, side=max(parts.side, size)).scaled(width, height)
    rounded: Callable[[float], int] = int if parts.rounds_down else round
    left, upper = rounded((across - size) / 2), rounded((down - size) / 2)
    x, y = width / across, height / down
    return left * x, upper * y, min((left + size) * x, width), min((upper + size) * y, height)


def _central_square(image: np.ndarray, size: int, parts: Central) -> np.ndarray:
    """Returns the central square of the scaled image, without computing the rest of it.

    Pillow rounds and clips pixels between its two passes, and it decides by the sizes which pass is the first. So both
    are requested one by one, in the order of a resize of the whole image.
    """
    height, width = image.shape[:2]
    left, upper, right, lower = _central_box(parts, width, height, size)
    across, down = replace(parts, side=max(parts.side, size)).scaled(width, height)
    tall = TALL_VERTICALLY_FIRST and height - down > max(0, 2 * (width - across))
    shown, filter_ = Image.fromarray(image), INTERPOLATIONS[parts.interpolation]
    for is_vertical in (tall, not tall):
        if is_vertical:
            shown = shown.resize((shown.width, size), filter_, box=(0, upper, shown.width, lower))
        else:
            shown = shown.resize((size, shown.height), filter_, box=(left, 0, right, shown.height))
    return np.asarray(shown)


def resize_image(image: np.ndarray, size: int, rule: str = AUTO) -> np.ndarray:
    """Resizes an image to the square input of a network.

    Args:
        image: (height, width, 3) uint8, RGB.
        size: the side of the square in pixels.
        rule: one of the identifiers above.

    Returns:
        (size, size, 3) uint8; the image itself if it already has this size and the rule takes all of it.

    Raises:
        DatasetError: the array is not an RGB image in uint8.

    Examples:
        >>> resize_image(np.full((2, 4, 3), 255, np.uint8), 4, PAD)[:, 0, 0].tolist()
        [0, 255, 255, 0]
    """
    if image.dtype != np.uint8 or image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or 0 in image.shape:
        message = (
            f"an image of shape {image.shape} and type {image.dtype}: expected (height, width, 3) uint8; "
            "convert it to RGB in uint8 first"
        )
        raise DatasetError(message)
    parts = central_of(rule)
    if image.shape[:2] == (size, size) and (parts is None or parts.side == size):
        return image
    if parts:
        return _central_square(image, size, parts)
    height, width = image.shape[:2]
    box, inner, (left, upper) = placement(rule, width, height, size)
    shown = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BICUBIC, box=box))
    if inner == (size, size):
        return shown
    square = np.zeros((size, size, _CHANNELS), np.uint8)
    square[upper : upper + inner[1], left : left + inner[0]] = shown
    return square
