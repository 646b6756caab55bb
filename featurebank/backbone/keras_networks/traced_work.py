"""The work of a layer whose class says nothing about it: its call is traced, and the products in it are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from featurebank.system.runtime import import_tensorflow

_CONTROL = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "PartitionedCall", "StatefulPartitionedCall"})


def traced_multiply_adds(operation: Any) -> int:
    """Counts the multiply-adds of a layer or an operation for one image, whatever its class.

    Convolutions and matrix products count. Where they are inside a loop, or the layer cannot be traced, the answer is
    at least each of its kernels times the places of its input or output.

    Args:
        operation: a layer or an operation of a functional Keras model, of a known image size.
    """
    bound = _bound(operation)
    try:
        operations = _traced(operation)
    except Exception:  # noqa: BLE001 - code of the user, which may not accept a batch of one image
        return bound
    count = sum(_COUNTS[one.type](one) for one in operations if one.type in _COUNTS)
    return max(count, bound) if any(one.type in _CONTROL for one in operations) else count


def _traced(operation: Any) -> list[Any]:
    tf = import_tensorflow()
    import keras

    model = keras.Model(operation.input, operation.output)
    specs = [tf.TensorSpec((tensor.shape[0] or 1, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]

    def call(*tensors: Any) -> Any:
        return model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)

    return list(tf.function(call).get_concrete_function(*specs).graph.get_operations())


def _bound(operation: Any) -> int:
    shapes = [tensor.shape for value in (operation.input, operation.output) for tensor in _tensors(value)]
    places = max((_size(shape[1:-1]) for shape in shapes), default=1)
    weights = [weight for weight in getattr(operation, "weights", ()) if weight.name != "bias"]
    kernels = [weight.shape for weight in weights if len(weight.shape) > 1]
    # What has the shape of the tokens, or one for a batch, is added to them.
    return int(places * sum(math.prod(shape) for shape in kernels if shape[0] != 1))


def _tensors(value: Any) -> list[Any]:
    import keras

    return [one for one in keras.tree.flatten(value) if hasattr(one, "shape")]


def _size(shape: Iterable[int | None]) -> int:
    return math.prod(int(side or 1) for side in shape)


def _of_product(operation: Any) -> int:
    left, output = operation.inputs[0].shape, operation.outputs[0].shape
    transposed = any(operation.get_attr(name) for name in ("transpose_a", "adj_x") if name in operation.node_def.attr)
    return _size(output) * int(left[-2 if transposed else -1] or 1)


def _of_einsum(operation: Any) -> int:
    labels = operation.get_attr("equation").decode().partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for names, tensor in zip(labels, operation.inputs, strict=True):
        free = len(tensor.shape) - len(names.replace("...", ""))
        spread = names.replace("...", "".join(chr(0x100 + place) for place in range(free)))
        sizes |= {name: int(size or 1) for name, size in zip(spread, tensor.shape, strict=True)}
    return math.prod(sizes.values())


def _of_convolution(operation: Any) -> int:
    return _size(operation.outputs[0].shape) * _size(operation.inputs[1].shape[:-1])


def _of_depthwise(operation: Any) -> int:
    return _size(operation.outputs[0].shape) * _size(operation.inputs[1].shape[:2])


def _of_transposed(operation: Any) -> int:
    """Of a transposed convolution: each place of its input, times the kernel."""
    return _size(operation.inputs[2].shape[:-1]) * _size(operation.inputs[1].shape)


_COUNTS: dict[str, Callable[[Any], int]] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _of_product),
    **dict.fromkeys(("Einsum", "XlaEinsum"), _of_einsum),
    **dict.fromkeys(("Conv2D", "Conv3D"), _of_convolution),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _of_transposed),
    "DepthwiseConv2dNative": _of_depthwise,
}
"""The counting functions by the type of TensorFlow's operation."""
