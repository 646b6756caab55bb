"""From a Keras model to the forms of other programs: what converters cannot do by themselves is done here."""

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

from featurebank.engine.openvino import import_openvino
from featurebank.errors import MissingDependencyError
from featurebank.system.runtime import import_tensorflow

IMAGE = "image"
"""The name of the input in files of ONNX and OpenVINO."""
_OPSET = 17
"""Of ONNX: what every runtime of the last years reads."""
_AUGMENTATION = ("Random", "AugMix", "CutMix", "MixUp", "RandAugment")
"""How the classes of Keras's layers begin that change images in training alone."""


def for_inference(model: Any) -> Any:
    """Returns a Keras model without the layers that augment images, which do nothing in inference.

    Converters fail on their random operations, or keep state for them.

    Args:
        model: a flat functional model; it stays as it is.

    Returns:
        The model itself where it has no such layers, otherwise a copy with the same weights.
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
    """Raises MissingDependencyError where a package of one of our extras is not installed; imports none of them."""
    for package in packages:
        missing = sys.modules[package] is None if package in sys.modules else find_spec(package) is None
        if missing:
            raise _missing(extra, package)


def to_onnx(model: Any, metadata: dict[str, str]) -> Any:
    """Converts a Keras model to ONNX; returns a `ModelProto`, images "image" -> probabilities "probabilities".

    Args:
        model: the model.
        metadata: texts that the file carries.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    with wanted("onnx"):
        import onnx
        import tf2onnx
    with quiet():
        concrete = traced(model).get_concrete_function()
        image, answer = f"{IMAGE}:0", concrete.outputs[0].name
        graph = tf2onnx.tf_loader.from_function(concrete, [image], [answer])
        _embed(graph, concrete)
        _inline(graph)
        made, _ = tf2onnx.convert.from_graph_def(
            graph, name="featurebank", input_names=[image], output_names=[answer], opset=_OPSET,
            custom_op_handlers={"Erfc": (_lower_erfc, [])},
            tensors_to_rename={image: IMAGE, answer: "probabilities"},
        )  # fmt: skip
    onnx.helper.set_model_props(made, metadata)
    return made


def _embed(graph: Any, concrete: Any) -> None:
    """Turns tensors that a layer brought along (the mean of `Normalization`) from inputs of a graph into constants."""
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
    """Lets the functions be inlined that Keras has compiled by XLA, as convolutions in groups."""
    parts = [*graph.node, *graph.library.function, *(node for f in graph.library.function for node in f.node_def)]
    for part in parts:
        for name in ("_XlaMustCompile", "_noinline"):
            part.attr.pop(name, None)


def _lower_erfc(context: Any, node: Any, name: str, args: Any) -> None:
    """Writes erfc(x), which ONNX does not know and TensorFlow's `gelu` is made of, as 1 - erf(x)."""
    import numpy as np

    (output,), (shape,), (dtype,) = node.output, node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    erf = context.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype], name=f"{name}_erf")
    one = context.make_const(f"{name}_one", np.ones((), np.float32))
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=[output], shapes=[shape], dtypes=[dtype], name=f"{name}_sub"
    )


def to_openvino(model: Any, path: Path, metadata: dict[str, str]) -> None:
    """Converts a Keras model to OpenVINO's pair of files, which computes in float32 wherever it is opened.

    Args:
        model: the model.
        path: of the .xml file; the weights are put beside it.
        metadata: texts that the file carries.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    with quiet():
        made = openvino.convert_model(traced(model).get_concrete_function())
        _keep_biases_apart(made)
        for name, text in metadata.items():
            made.set_rt_info(text, [name])
        openvino.save_model(made, path, compress_to_fp16=False)
    keep_float32(path)


def _keep_biases_apart(made: Any) -> None:
    """Lets no product of matrices of an OpenVINO model be fused with its bias.

    The CPU plugin fuses `MatMul` with the addition of a constant, and the new operation has lost the mark of
    `keep_float32`. A bias that depends on the input is not fused, so a zero is added to it that is computed from the
    number of images: the smaller of this number and 0. All results stay as they are.

    Args:
        made: the model; changed in place.
    """
    import numpy as np

    operations = import_openvino().opset13
    found = [
        (node, product, 1 - product)
        for node in made.get_ordered_ops()
        if node.get_type_name() == "Add"
        for product in (0, 1)
        if [node.input_value(n).get_node().get_type_name() for n in (product, 1 - product)] == ["MatMul", "Constant"]
    ]
    if not found:
        return
    shape = operations.shape_of(made.input(0).get_node(), "i32")
    images = operations.gather(shape, np.array([0], np.int32), np.int32(0))
    zero = operations.convert(operations.minimum(images, np.array([0], np.int32)), "f32")
    for node, product, bias in found:
        new = operations.add(node.input_value(product), operations.add(node.input_value(bias), zero))
        new.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(new.output(0))


def keep_float32(path: Path) -> None:
    """Marks every operation of an OpenVINO model as one whose precision is not to be lowered.

    Without it `core.compile_model(model, "CPU")` computes in bfloat16 wherever the processor has it. An entry
    `runtime_options/INFERENCE_PRECISION_HINT` is not read by OpenVINO 2026.4; this mark is.

    Args:
        path: the .xml file; it is written again.
    """
    from xml.etree import ElementTree as ET

    tree = ET.parse(path)  # of the file that has just been written here
    for layer in tree.iter("layer"):
        info = layer.find("rt_info")
        if info is None:
            info = ET.SubElement(layer, "rt_info")
        ET.SubElement(info, "attribute", name="precise", version="0")
    tree.write(path, encoding="utf-8", xml_declaration=True)


def to_tflite(model: Any, place: Path) -> bytes:
    """Converts a Keras model to TensorFlow Lite; returns the file.

    Args:
        model: the model.
        place: a directory in which there is room for the model once more.
    """
    tf = import_tensorflow()
    with quiet(), tempfile.TemporaryDirectory(dir=place) as saved:
        model.export(saved, verbose=False)
        return bytes(tf.lite.TFLiteConverter.from_saved_model(saved).convert())


def traced(model: Any) -> Any:
    """Returns a model as a `tf.function` of any number of images."""
    tf = import_tensorflow()
    signature = [tf.TensorSpec((None, *model.input.shape[1:]), model.input.dtype, name=IMAGE)]
    return tf.function(lambda image: model(image, training=False), input_signature=signature, autograph=False)


@contextlib.contextmanager
def wanted(extra: str) -> Iterator[None]:
    """Turns a missing package of one of our extras into a line that says how to install it."""
    try:
        yield
    except ImportError as error:
        raise _missing(extra, str(error)) from error


def _missing(extra: str, what: str) -> MissingDependencyError:
    message = f"format {extra} needs a package that is not installed ({what}): pip install 'featurebank[{extra}]'"
    return MissingDependencyError(message)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps converters, and the native libraries under them, from printing and from warning of their own insides.

    What they print is no news where the conversion succeeds, and where it fails their exception says why.
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
    """Sends to nowhere what C++ writes to standard output and standard error."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
