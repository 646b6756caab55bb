"""Gives outputs of a model of OpenVINO memory of their own, where OpenVINO would compute others wrongly.

OpenVINO (2026.4) returns a transpose or reshape as a view of the memory of the operation before it. If something else
reads the same memory through another view, as the tokens of a transformer do where the map of its patch embedding is
an output, too, that gets wrong numbers, which may differ from compilation to compilation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_VIEWS = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Convert"})
"""Operations whose output may be a view of their input."""
_SHARES = _VIEWS | {
    "Split", "VariadicSplit", "Concat", "Gather", "Slice", "StridedSlice", "ShuffleChannels", "DepthToSpace",
    "SpaceToDepth",
}  # fmt: skip
"""Operations that may share the memory of their input, wholly or in part."""
_POOLED_RANKS = range(3, 6)
"""Numbers of axes that a pool accepts."""


def separate_outputs(package: Any, model: Any) -> int:
    """Copies what an output views, if something else views it, too; the numbers stay the same.

    Outputs that are views of memory that nothing else views stay as they are: a copy takes time.

    Args:
        package: the package `openvino`.
        model: an `openvino.Model`, which is changed.

    Returns:
        The number of outputs that were separated; 0 at a second call.
    """
    count = 0
    for result in model.get_results():
        views, source = _views_of(result)
        if _is_shared(result, views, source):
            _separate(package.opset13, result, views, source)
            count += 1
    return count


def _views_of(result: Any) -> tuple[list[Any], Any]:
    """Returns the views between an output and the value that they show, the last view first, and that value."""
    views, source = list[Any](), result.input_value(0)
    while source.get_node().get_type_name() in _VIEWS:
        views.append(source.get_node())
        source = source.get_node().input_value(0)
    return views, source


def _is_shared(result: Any, views: Sequence[Any], source: Any) -> bool:
    is_transposed = any(view.get_type_name() == "Transpose" for view in views)
    if not is_transposed or len(source.get_partial_shape()) not in _POOLED_RANKS:
        return False
    own = {view.get_name() for view in views}
    values = [source, *(view.output(0) for view in views)]
    readers = [port.get_node() for value in values for port in value.get_target_inputs()]
    return any(node.get_name() not in own and node.get_type_name() in _SHARES for node in readers)


def _separate(ops: Any, result: Any, views: Sequence[Any], source: Any) -> None:
    """Lets an output show a copy of the value through views of its own.

    A pool over one place changes no number; OpenVINO removes sums with zero and products with one.
    """
    axes = len(source.get_partial_shape()) - 2
    ones, zeros = [1] * axes, [0] * axes
    value = ops.avg_pool(source, ones, zeros, zeros, ones, exclude_pad=False).output(0)
    for view in reversed(views):
        inputs = [view.input_value(place) for place in range(view.get_input_size())]
        value = _rebuilt(ops, view, [value, *inputs[1:]])
    before = result.input_value(0)
    names = before.get_names()
    before.get_tensor().set_names(set())
    value.get_tensor().set_names(names)
    for port in before.get_target_inputs():
        if port.get_node().get_type_name() == "Result":
            port.replace_source_output(value)


def _rebuilt(ops: Any, view: Any, inputs: list[Any]) -> Any:
    """Returns the output of the same view of other memory."""
    kind = view.get_type_name()
    if kind == "Reshape":
        return ops.reshape(*inputs, view.get_attributes()["special_zero"]).output(0)
    if kind == "Convert":
        return ops.convert(*inputs, view.get_attributes()["destination_type"]).output(0)
    make = {"Transpose": ops.transpose, "Squeeze": ops.squeeze, "Unsqueeze": ops.unsqueeze}[kind]
    return make(*inputs).output(0)
