"""The trunk of a graft whose network is an .onnx file of the user: the nodes of the file up to the tap, as they are.

In front of them stands the preprocessing, and behind them the step of the tap; both are written by way of Keras, as the
head is, so that there is one way to ONNX.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.backbone.openvino_networks.input_form import InputForm
from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.backbone.outline import ResolvedTap
from featurebank.backbone.preprocess import INSIDE, arithmetic
from featurebank.errors import ConfigError
from featurebank.grafting.converters import OPSET, to_onnx
from featurebank.system.runtime import import_tensorflow

_INPUT, _STEP = "input_", "tap_"
_DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "u8": "uint8", "i32": "int32", "i64": "int64"}


def file_trunk(backbone: OpenVINOBackbone, tap: str) -> Any:
    """Returns a network up to a tap as an ONNX `ModelProto`: images, float32 -> the features, float32.

    Args:
        backbone: from an .onnx file.
        tap: the tap.

    Raises:
        ConfigError: the file has no name for the output that the tap is made of.
    """
    import onnx

    node, step = backbone.source_of(tap)
    network = onnx.load(str(backbone.spec.file.path))  # it was checked, as were the files with its weights
    known = {name for one in network.graph.node for name in one.output}
    name = next((name for name in sorted(node.operation.output(0).get_names()) if name in known), None)
    if name is None:
        message = (
            f"tap '{tap}' of {backbone.spec.known_as} has no name in that file, so it cannot be cut there: export to "
            "an .xml or .fbmodel file"
        )
        raise ConfigError(message)
    dtype, shape = _DTYPES[node.operation.get_output_element_type(0).get_type_name()], node.shape
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    _cut(network, onnx.helper.make_tensor_value_info(name, kind, ["images", *shape[1:]]))
    whole = connect(to_onnx(_input(backbone), {}), network, "", prefix_first=_INPUT)
    return connect(whole, to_onnx(_step(step, node.order, (None, *shape[1:]), dtype), {}), _STEP)


def connect(first: Any, second: Any, prefix: str, *, prefix_first: str = "") -> Any:
    """Connects the only output of an ONNX model with the only input of another.

    Args:
        first, second: the models; both may be changed.
        prefix: before all names of the second, so that no name occurs twice.
        prefix_first: before all names of the first, except that of its input.
    """
    from onnx import compose

    first, second = _same_operators(first, second)
    image = first.graph.input[0].name
    if prefix_first:
        first = compose.add_prefix(first, prefix_first, rename_inputs=False)
    if prefix:
        second = compose.add_prefix(second, prefix)
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    ends = (first.graph.output[0].name, second.graph.input[0].name)
    model = compose.merge_models(first, second, io_map=[ends], producer_name="featurebank", doc_string="")
    model.graph.input[0].name = image
    return model


def _same_operators(first: Any, second: Any) -> tuple[Any, Any]:
    """Converts the model with the older operators of ONNX to those of the other."""
    from onnx import version_converter

    versions = [_version(one) for one in (first, second)]
    newest = max(*versions, OPSET)
    first, second = (
        one if version == newest else version_converter.convert_version(one, newest)
        for one, version in zip((first, second), versions, strict=True)
    )
    return first, second


def _version(model: Any) -> int:
    return next((int(one.version) for one in model.opset_import if one.domain in {"", "ai.onnx"}), 1)


def _cut(network: Any, output: Any) -> None:
    """Removes what an output does not need from an ONNX model, and makes it the only output."""
    graph, names, nodes = network.graph, {output.name}, list[Any]()
    for node in reversed(graph.node):
        if names.intersection(node.output):
            nodes.append(node)
            names.update(_reads(node))
    for field, values in (
        ("node", nodes[::-1]),
        ("initializer", [one for one in graph.initializer if one.name in names]),
        ("output", [output]),
        ("value_info", []),  # it states shapes, also those of a fixed number of images
    ):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    constants = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]  # old files list their weights as inputs, too
    graph.ClearField("input")
    graph.input.extend(inputs)
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "images"
    network.ClearField("metadata_props")


def _reads(node: Any) -> set[str]:
    """Returns the names that a node reads, and those that graphs inside it read."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            names.update(*(_reads(inner) for inner in graph.node), (one.name for one in graph.output))
    return names


def _input(backbone: OpenVINOBackbone) -> Any:
    """Returns a Keras model: images (n, s, s, 3), float32 -> the input of the network."""
    import_tensorflow()
    import keras

    form: InputForm = backbone.input
    image = value = keras.Input((backbone.image_size, backbone.image_size, 3), name="image")
    if backbone.spec.preprocessing != INSIDE:
        does = arithmetic(backbone.spec.preprocessing)
        if does.is_bgr:
            value = value[..., ::-1]
        value = value * keras.ops.array(does.scale, "float32") + keras.ops.array(does.offset, "float32")
    if form.axes == "nchw":
        value = keras.ops.transpose(value, (0, 3, 1, 2))
    if form.dtype != "f32":
        value = keras.ops.cast(value, _DTYPES[form.dtype])
    return keras.Model(image, value if value is not image else keras.layers.Identity()(image))


def _step(tap: ResolvedTap, order: tuple[int, ...], shape: tuple[int | None, ...], dtype: str) -> Any:
    """Returns a Keras model: the output of a node -> the features of a tap, float32."""
    import_tensorflow()
    import keras

    ops = keras.ops
    output = keras.Input(shape[1:], dtype=dtype)
    value = ops.transpose(ops.cast(output, "float32"), order)
    reduce = ops.max if tap.step == "max" else ops.mean
    if tap.step and tap.layout is None:
        value = reduce(value, axis=(1, 2))
    elif tap.step == "cls":
        value = value[:, 0]
    elif tap.step and tap.layout is not None:
        value = value[:, tap.layout.prefix :]
        value = ops.reshape(value, (-1, *tap.shape)) if tap.step == "map" else reduce(value, axis=1)
    return keras.Model(output, value)
