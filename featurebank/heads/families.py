"""The families of heads with epochs: which of their heads share a program, and how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

from featurebank.system.validation import listed

DENSE, CAM, MAPS, LAYERED = "dense", "cam", "maps", "layered"

_LAYERED_ADDS_A_NUMBER = 4000
"""Multiply-adds of a last stage for each number of the map before it: ResNet50's after `conv4_block6_out`."""
_ADDS_A_NANOSECOND = {DENSE: 60, CAM: 100, MAPS: 100, LAYERED: 50}
"""As they were measured on two cores; of a step, which has three times those of an answer."""


def programs(family: str, heads: Sequence[Any], shape: tuple[int, ...], classes: int, images: int) -> list[list[int]]:
    """Returns the positions of the heads that are trained at the same time, program by program.

    Args:
        family: of all the heads.
        heads: to be trained.
        shape: of one image's features.
        classes: how many there are.
        images: how many are trained on.

    Raises:
        HeadError: the maps are too small for a head.
    """
    if family == DENSE:
        from featurebank.heads.joined import programs as of_dense

        return of_dense(heads, prod(shape), classes)
    if family == CAM:
        from featurebank.heads.joined import programs as of_dense

        return of_dense(heads, shape[-1], classes)
    if family == MAPS:
        from featurebank.heads.map_network import programs as of_maps

        return of_maps(heads, shape, classes, images)
    return [[position] for position in range(len(heads))]


def nanoseconds(family: str, params: dict[str, Any], shape: tuple[int, ...], classes: int) -> float:
    """Returns about how long an epoch of one image takes, to the nearest power of ten.

    Args:
        family: of the head.
        params: its own, all of them.
        shape: of one image's features.
        classes: how many there are.
    """
    adds, inputs = 0.0, prod(shape)
    if family == LAYERED and "blocks" in params:
        first, second, third = params["filters"]
        block = first * third + 9 * first * second + second * third
        adds, inputs = prod(shape[:-1]) * (params["blocks"] * block + shape[-1] * (first + third)), third
    elif family == LAYERED:
        adds, inputs = _LAYERED_ADDS_A_NUMBER * prod(shape), 1000
    elif family == MAPS and "filters" in params:
        filters, kernel, before = listed(params["filters"]), listed(params["kernel_size"]), shape[-1]
        for number, width in enumerate(filters):
            adds += prod(shape[:-1]) * kernel[min(number, len(kernel) - 1)] ** 2 * before * width
            before = width
        inputs = before * (prod(shape[:-1]) // 4 if params["reduce"] == "flatten" else 1)
    elif family in {CAM, MAPS}:
        adds, inputs = 20 * prod(shape), shape[-1]
    sizes = [inputs, *listed(params.get("hidden_units") or []), classes]
    adds += sum((a + 1) * b for a, b in pairwise(sizes))
    return 3 * adds / _ADDS_A_NANOSECOND[family]
