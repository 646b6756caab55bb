"""Converts Keras models to ONNX, OpenVINO and TensorFlow Lite, with workarounds for gaps in the converters."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.grafting.certainty.embedding import EMBEDDING
from featurebank.grafting.guard import put_first
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.runtime import import_tensorflow

IMAGE = "image"
"""The name of the input in ONNX and OpenVINO files."""
OUTPUTS = ("probabilities", EMBEDDING)
"""The names of the outputs in ONNX files."""
OPSET = 17
"""The ONNX operator set; every runtime of recent years supports it."""
_AUGMENTATION = ("Random", "AugMix", "CutMix", "MixUp", "RandAugment")
"""Prefixes of the names of Keras layers that change images only in training."""


def for_inference(model: Any) -> Any:
    """Returns a Keras model without its augmentation layers, which do nothing in inference.

    Converters fail on the random operations of these layers, or store state for them.

    Args:
        model: a flat functional model; it is not changed.

    Returns:
        The model itself if it has no such layers, otherwise a copy with the same weights.
    """
    import keras

    if not any(_augments(layer) for layer in model.layers):
        return model

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if _augments(layer) else layer(*args, **kwargs)

    plain = keras.models.clone_model(model, call_function=call)
    plain.set_weights(model.get_weights())
    return plain


def _augments(layer: Any) -> bool:
    import keras

    kind = type(layer).__name__
    return kind.startswith(_AUGMENTATION) and type(layer) is getattr(keras.layers, kind, None)


def check_installed(extra: str, *packages: str) -> None:
    """Raises MissingDependencyError if a package of an extra is not installed; imports none of the packages."""
    for package in packages:
        missing = sys.modules[package] is None if package in sys.modules else find_spec(package) is None
        if missing:
            raise _missing(extra, package)


def to_onnx(model: Any, metadata: dict[str, str]) -> Any:
    """Converts a Keras model to an ONNX `ModelProto` with the input "image" and the output "probabilities".

    Args:
        model: the model; a second output is called "embedding".
        metadata: entries of the file's metadata.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    with explain_missing_extra("onnx"):
        import onnx
        import tf2onnx
    with quiet():
        concrete = traced(model).get_concrete_function()
        image = f"{IMAGE}:0"
        names = {one.name: name for one, name in zip(concrete.outputs, OUTPUTS, strict=False)}
        graph = tf2onnx.tf_loader.from_function(concrete, [image], list(names))
        _embed(graph, concrete)
        _inline(graph)
        onnx_model, _ = tf2onnx.convert.from_graph_def(
            graph, name="featurebank", input_names=[image], output_names=list(names), opset=OPSET,
            custom_op_handlers={"Erfc": (_lower_erfc, [])},
            tensors_to_rename={image: IMAGE, **names},
        )  # fmt: skip
    onnx.helper.set_model_props(onnx_model, metadata)
    return onnx_model


def _embed(graph: Any, concrete: Any) -> None:
    """Turns captured tensors of a layer (such as the mean of `Normalization`) from graph inputs into constants."""
    tf = import_tensorflow()
    inside = {inner.op.name: outer for outer, inner in concrete.graph.captures if outer.dtype != tf.resource}
    for node in graph.node:
        if node.op == "Placeholder" and node.name in inside:
            value = tf.make_tensor_proto(inside[node.name].numpy())
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = value.dtype
            node.attr["value"].tensor.CopyFrom(value)


def _inline(graph: Any) -> None:
    """Allows inlining of functions that Keras compiles with XLA, such as grouped convolutions."""
    parts = [*graph.node, *graph.library.function, *(node for f in graph.library.function for node in f.node_def)]
    for part in parts:
        for name in ("_XlaMustCompile", "_noinline"):
            part.attr.pop(name, None)


def _lower_erfc(context: Any, node: Any, name: str, args: Any) -> None:
    """Replaces erfc(x) by 1 - erf(x): TensorFlow's `gelu` uses erfc, but ONNX does not have it."""
    import numpy as np

    (output,), (shape,), (dtype,) = node.output, node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    erf = context.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype], name=f"{name}_erf")
    one = context.make_const(f"{name}_one", np.ones((), np.float32))
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=[output], shapes=[shape], dtypes=[dtype], name=f"{name}_sub"
    )


def to_openvino(model: Any, path: Path, metadata: dict[str, str]) -> None:
    """Converts a Keras model to a pair of OpenVINO files that computes in float32 on every machine.

    Args:
        model: the model.
        path: the .xml file; the weights are written beside it.
        metadata: entries of the file's metadata.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    with quiet():
        save_openvino(import_openvino().convert_model(traced(model).get_concrete_function()), path, metadata)


def save_openvino(model: Any, path: Path, metadata: dict[str, str]) -> None:
    """Writes an `openvino.Model`, which is changed in place, as `to_openvino` does."""
    _keep_biases_apart(model)
    for name, text in metadata.items():
        model.set_rt_info(text, [name])
    import_openvino().save_model(model, path, compress_to_fp16=False)
    keep_float32(path)


def _keep_biases_apart(model: Any) -> None:
    """Prevents OpenVINO from fusing matrix products with their biases.

    The CPU plugin fuses `MatMul` with the addition of a constant, and the new operation lacks the mark of
    `keep_float32`. A bias that depends on the input is not fused. So a zero that is computed from the number of
    images (the minimum of this number and 0) is added to each bias. The results do not change.

    Args:
        model: the model; changed in place.
    """
    import numpy as np

    operations = import_openvino().opset13
    biased_products = [
        (node, product, 1 - product)
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Add"
        for product in (0, 1)
        if [node.input_value(n).get_node().get_type_name() for n in (product, 1 - product)] == ["MatMul", "Constant"]
    ]
    if not biased_products:
        return
    shape = operations.shape_of(model.input(0).get_node(), "i32")
    images = operations.gather(shape, np.array([0], np.int32), np.int32(0))
    zero = operations.convert(operations.minimum(images, np.array([0], np.int32)), "f32")
    for node, product, bias in biased_products:
        new = operations.add(node.input_value(product), operations.add(node.input_value(bias), zero))
        new.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(new.output(0))


def keep_float32(path: Path) -> None:
    """Marks every operation of an OpenVINO model as one that must keep its precision.

    Otherwise `core.compile_model(model, "CPU")` computes in bfloat16 on processors that have it. OpenVINO 2026.4 reads
    this mark, but no entry `runtime_options/INFERENCE_PRECISION_HINT`.

    Args:
        path: the .xml file; it is rewritten.
    """
    from xml.etree import ElementTree as ET

    tree = ET.parse(path)  # this process has just written the file
    for layer in tree.iter("layer"):
        info = layer.find("rt_info")
        if info is None:
            info = ET.SubElement(layer, "rt_info")
        ET.SubElement(info, "attribute", name="precise", version="0")
    tree.write(path, encoding="utf-8", xml_declaration=True)


def to_tflite(model: Any, place: Path) -> bytes:
    """Converts a Keras model to TensorFlow Lite; returns the content of the file.

    Args:
        model: the model.
        place: a directory with enough space for another copy of the model.
    """
    tf = import_tensorflow()
    with quiet(), tempfile.TemporaryDirectory(dir=place) as saved:
        model.export(saved, verbose=False)
        content = bytearray(tf.lite.TFLiteConverter.from_saved_model(saved).convert())
    put_first(content, "output_0")
    return bytes(content)


def traced(model: Any) -> Any:
    """Returns a model as a `tf.function` that accepts any number of images."""
    tf = import_tensorflow()
    signature = [tf.TensorSpec((None, *model.input.shape[1:]), model.input.dtype, name=IMAGE)]
    return tf.function(lambda image: model(image, training=False), input_signature=signature, autograph=False)


@contextlib.contextmanager
def explain_missing_extra(extra: str) -> Iterator[None]:
    """Replaces the ImportError of a missing package by a MissingDependencyError that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise _missing(extra, str(error)) from error


def _missing(extra: str, what: str) -> MissingDependencyError:
    message = f"format {extra} needs a package that is not installed ({what}): pip install 'featurebank[{extra}]'"
    return MissingDependencyError(message)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses output and warnings of converters and of the native libraries that they use.

    If a conversion succeeds, their output does not matter; if it fails, the exception says why.
    """
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow", "absl")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _silent_descriptors():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _silent_descriptors() -> Iterator[None]:
    """Discards the output of C++ code on standard output and standard error."""
    sys.stdout.flush()
    sys.stderr.flush()
    copies = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in zip((1, 2), copies, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
