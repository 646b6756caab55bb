"""The axes of a layer's output: which is the one of channels."""

from __future__ import annotations

from typing import NamedTuple

_VECTOR, _TOKENS, _MAP = 1, 2, 3


class Arranged(NamedTuple):
    """The output of a layer for one image.

    Args:
        shape: its shape once the channels are the last axis.
        is_channels_last: whether the network gives it that way.
    """

    shape: tuple[int, ...]
    is_channels_last: bool


def arranged(shape: tuple[int, ...], *, is_channels_last: bool) -> Arranged | None:
    """Finds the axis of channels. Images are square, so that the two equal axes of a map are its height and width.

    Args:
        shape: shape of the output for one image, as the layer gives it.
        is_channels_last: whether the last axis is the channels of a map whose axes are all equal.

    Returns:
        The arrangement; None if the output is no map, no tokens and no vector, and so cannot be a tap.

    Example:
        >>> arranged((8, 7, 7), is_channels_last=False), arranged((3, 5, 7), is_channels_last=False)
        (Arranged(shape=(7, 7, 8), is_channels_last=False), None)
    """
    if len(shape) in {_VECTOR, _TOKENS}:
        return Arranged(shape, is_channels_last=True)
    if len(shape) != _MAP or len(set(shape)) == _MAP:
        return None
    first, second, third = shape
    if first == third != second:
        return None
    last = is_channels_last if first == second == third else first == second
    return Arranged(shape if last else (second, third, first), is_channels_last=last)
