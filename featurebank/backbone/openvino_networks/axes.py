"""The meaning of the axes of each node's output: images, channels, rows, columns or tokens.

A graph of ONNX or OpenVINO has shapes without names. Convolutions and pools take (n, c, h, w) in OpenVINO, transposes
permute axes, and what is added has the same axes; so the meaning follows from the graph. It is a string with a letter
for each axis: `n` images, `c` channels, `h` and `w` places, `t` tokens, `f` a flattened map; empty if it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from featurebank.system.model_files.trial import BATCH

MAPS, TOKENS, VECTOR, FLAT = ("nchw", "nhwc"), ("ntc", "nct"), "nc", "nf"
_BY_RANK = {3: "nct", 4: "nchw"}
"""The axes of convolutions and pools."""
_LINEAR = {3: "ntc", 4: "nhwc"}
"""The axes of linear layers."""
_KEEP = frozenset({"Concat", "Slice", "StridedSlice", "Split", "VariadicSplit", "Pad", "Interpolate", "Roll", "Tile"})
"""Operations that change the lengths of axes, but not their meaning."""

Source = tuple[str, tuple[int, ...]]
"""The axes and the shape of an input."""


def axes_of(operation: Any, sources: Sequence[Source | None], shape: tuple[int, ...]) -> str:
    """Returns the axes of a node's first output.

    Args:
        operation: an operation of OpenVINO.
        sources: for each of its inputs, the axes and the shape; None for inputs that do not depend on the image.
        shape: the shape of the output.
    """
    kind, known = operation.get_type_name(), [source for source in sources if source]
    if kind in {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MaxPool", "AvgPool"} or kind.startswith(
        "Adaptive"
    ):
        return _BY_RANK.get(len(shape), "")
    first = known[0]
    if (rule := _RULES.get(kind)) is not None:
        return rule(operation, first, shape) if first[0] else ""
    if kind == "MatMul":
        return _product(sources, shape)
    alike = [axes for axes, lengths in known if axes and len(lengths) == len(shape)]
    same = [axes for axes, lengths in known if axes and lengths == shape]
    return next(iter((alike if kind in _KEEP else same) or alike), "")


def reshaped(axes: str, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """Returns the axes after a reshape that neither mixes images nor moves channels.

    Example:
        >>> reshaped("nchw", (2, 8, 3, 4), (2, 8, 12)), reshaped("ntc", (2, 12, 8), (2, 3, 4, 8))
        ('nct', 'nhwc')
        >>> reshaped("ntc", (2, 12, 8), (2, 12, 2, 4)), reshaped("nchw", (2, 8, 1, 1), (2, 8))
        ('', 'nc')
    """
    if before == after:
        return axes
    if not after or after[0] != before[0]:
        return ""
    length = dict(zip(axes, before, strict=True))
    channels, places = length.get("c", 0), math.prod(length.get(axis, 1) for axis in "hwt")
    if len(after) == len(FLAT):
        return VECTOR if places == 1 and after[1] == channels else FLAT
    for name in (*TOKENS, *MAPS):
        sizes = dict(zip(name, after, strict=False))
        keeps_order = places == 1 or name.endswith("c") == axes.endswith("c")
        fits = len(name) == len(after) and sizes["c"] == channels and math.prod(after[1:]) == places * channels
        if fits and keeps_order:
            return name
    return ""


def _product(sources: Sequence[Source | None], shape: tuple[int, ...]) -> str:
    """Returns the axes of a matrix product: those of its only input; channels come last if nothing else is known."""
    known = [source for source in sources if source]
    if len(known) != 1 or len(known[0][1]) != len(shape):
        return ""
    (axes, lengths), is_layer = known[0], sources[0] is not None
    return axes or (_LINEAR.get(len(shape), "") if is_layer and lengths[0] == BATCH else "")


def _transpose(operation: Any, source: Source, _: tuple[int, ...]) -> str:
    order = constant(operation, 1)
    return "".join(source[0][axis] for axis in order) if order else source[0][::-1]


def _reshape(_: Any, source: Source, shape: tuple[int, ...]) -> str:
    return reshaped(*source, shape)


def _reduce(operation: Any, source: Source, shape: tuple[int, ...]) -> str:
    axes, lengths = source
    if len(shape) == len(lengths):
        return axes
    reduced = {axis % len(axes) for axis in constant(operation, 1) or []}
    left = "".join(axis for place, axis in enumerate(axes) if place not in reduced)
    return left if len(left) == len(shape) else ""


def _gather(operation: Any, source: Source, shape: tuple[int, ...]) -> str:
    axes, lengths = source
    if len(shape) == len(lengths):
        return axes
    (place, *_) = constant(operation, 2) or [0]
    left = axes[:place] + axes[place:][1:] if place >= 0 else axes[: len(axes) + place] + axes[len(axes) + place + 1 :]
    return left if len(left) == len(shape) else ""


def _strided_slice(operation: Any, source: Source, shape: tuple[int, ...]) -> str:
    axes, lengths = source
    if len(shape) == len(lengths):
        return axes
    shrunk = list(operation.get_attributes().get("shrink_axis_mask", []))
    left = "".join(axis for place, axis in enumerate(axes) if place >= len(shrunk) or not shrunk[place])
    return left if len(left) == len(shape) else ""


_RULES: dict[str, Callable[[Any, Source, tuple[int, ...]], str]] = {
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL2", "ReduceL1"), _reduce),
    "Gather": _gather,
    "StridedSlice": _strided_slice,
}


def constant(operation: Any, place: int) -> list[int] | None:
    """Returns the whole numbers of an input that is a constant; None if it is computed or missing."""
    if place >= operation.get_input_size():
        return None
    source = operation.input_value(place).get_node()
    if source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    if source.get_type_name() != "Constant":
        return None
    return [int(value) for value in source.data.ravel().tolist()]
