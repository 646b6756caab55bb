"""The work of each part of a network, in multiply-adds for one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from featurebank.backbone.keras_networks.graph import leaf_layers
from featurebank.backbone.keras_networks.traced_work import traced_multiply_adds

_KERNELS = {"kernel", "depthwise_kernel", "pointwise_kernel"}
_TRACED = frozenset({
    "Conv", "ConvTranspose", "DepthwiseConv", "DotProductAttention", "Inner", "Outer", "SeparableConv", "Vdot",
    "Vecdot",
})  # fmt: skip
"""Operations of Keras that are products, beside those in `_COUNTS`."""


def multiply_adds(operation: Any) -> int:
    """Counts the multiply-adds of a layer or an operation for one image.

    Convolutions, dense layers, attention and matrix products count; everything else takes a small part of the time. A
    layer of another class than Keras's own is traced, because nobody else knows what is in it.

    Args:
        operation: a layer or an operation of a functional Keras model; for a nested model, all of its layers count.
    """
    kind = type(operation).__name__
    own = type(operation).__module__.partition(".")[0] == "keras"
    if own and hasattr(operation, "layers"):
        return sum(multiply_adds(part) for part in leaf_layers(operation))
    if own and kind in _COUNTS:
        return _COUNTS[kind](operation)
    has_kernels = any(weight.name.endswith("kernel") for weight in getattr(operation, "weights", ()))
    return traced_multiply_adds(operation) if not own or kind in _TRACED or has_kernels else 0


def _of_kernels(layer: Any) -> int:
    return int(_places(layer.output.shape[1:-1]) * _kernel_size(layer))


def _of_product(operation: Any) -> int:
    return _places(operation.output.shape[1:]) * int(_inputs(operation)[0].shape[-1] or 1)


def _of_einsum_dense(layer: Any) -> int:
    left, _, right = layer.equation.partition("->")
    kernel = left.partition(",")[2]
    summed = [size for label, size in zip(kernel, layer.kernel.shape, strict=True) if label not in right]
    return int(_places(layer.output.shape[1:]) * math.prod(summed))


def _of_attention(layer: Any) -> int:
    """Counts the projections, the products of queries with keys, and those of the attention weights with values."""
    query, *others = _inputs(layer)
    key = others[0] if others else query
    queries, keys = _places(query.shape[1:-1]), _places(key.shape[1:-1])
    heads = getattr(layer, "num_heads", None) or getattr(layer, "num_query_heads", None) or 1
    width = heads * int(getattr(layer, "key_dim", None) or getattr(layer, "head_dim", None) or query.shape[-1] or 1)
    return max(queries, keys) * _kernel_size(layer) + 2 * queries * keys * width


def _of_einsum(operation: Any) -> int:
    labels = operation.subscripts.partition("->")[0].replace(" ", "").split(",")
    sizes = {
        label: int(size or 1)
        for name, tensor in zip(labels, _inputs(operation), strict=False)
        if len(name) == len(tensor.shape)
        for label, size in zip(name, tensor.shape, strict=True)
    }
    return math.prod(sizes.values())


def _inputs(operation: Any) -> Sequence[Any]:
    value = operation.input
    return list(value) if isinstance(value, list | tuple) else [value]


def _places(shape: Sequence[int | None]) -> int:
    return math.prod(int(size or 1) for size in shape)


def _kernel_size(layer: Any) -> int:
    return sum(math.prod(weight.shape) for weight in layer.weights if weight.name in _KERNELS)


_COUNTS: dict[str, Callable[[Any], int]] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"), _of_kernels),
    **dict.fromkeys(("Matmul", "Dot", "Tensordot"), _of_product),
    **dict.fromkeys(("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention"), _of_attention),
    "EinsumDense": _of_einsum_dense,
    "Einsum": _of_einsum,
}
"""The counting functions by the class of the operation."""
