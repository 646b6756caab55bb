"""The work of each node of a graph of OpenVINO, in multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Shapes = Sequence[tuple[int, ...]]


def multiply_adds(operation: Any, inputs: Shapes, output: tuple[int, ...]) -> int:
    """Counts the multiply-adds of an operation for all images of its input.

    Convolutions, matrix products, einsum and attention count; everything else takes a small part of the time.

    Args:
        operation: an operation of OpenVINO.
        inputs: the shapes of its inputs.
        output: the shape of its output.
    """
    count = _COUNTS.get(operation.get_type_name())
    return count(operation, inputs, output) if count else 0


def _convolution(_: Any, inputs: Shapes, output: tuple[int, ...]) -> int:
    return output[0] * math.prod(output[2:]) * math.prod(inputs[1])


def _backpropagation(_: Any, inputs: Shapes, output: tuple[int, ...]) -> int:
    return output[0] * math.prod(inputs[0][2:]) * math.prod(inputs[1])


def _product(operation: Any, inputs: Shapes, output: tuple[int, ...]) -> int:
    left = inputs[0]
    if len(left) < 2:  # noqa: PLR2004 - a vector
        return math.prod(left) * math.prod(output)
    return math.prod(output) * left[-2 if operation.get_attributes().get("transpose_a") else -1]


def _einsum(operation: Any, inputs: Shapes, _: tuple[int, ...]) -> int:
    labels = operation.get_attributes()["equation"].partition("->")[0].replace(" ", "").split(",")
    sizes = {
        label: size
        for name, shape in zip(labels, inputs, strict=False)
        if len(name) == len(shape)
        for label, size in zip(name, shape, strict=True)
    }
    return math.prod(sizes.values())


def _attention(_: Any, inputs: Shapes, output: tuple[int, ...]) -> int:
    """Counts the products of queries with keys, and of the attention weights with values."""
    queries, keys = inputs[0], inputs[1]
    return math.prod(queries[:-1]) * keys[-2] * (queries[-1] + output[-1])


_COUNTS: dict[str, Callable[[Any, Shapes, tuple[int, ...]], int]] = {
    **dict.fromkeys(("Convolution", "GroupConvolution"), _convolution),
    **dict.fromkeys(("ConvolutionBackpropData", "GroupConvolutionBackpropData"), _backpropagation),
    "MatMul": _product,
    "Einsum": _einsum,
    "ScaledDotProductAttention": _attention,
}
