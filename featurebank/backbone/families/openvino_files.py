"""Model files of ONNX (.onnx) and OpenVINO (.xml) as backbones, run by OpenVINO as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.naming import as_part_of_path
from featurebank.backbone.openvino_networks.features import GraphFeatures
from featurebank.backbone.openvino_networks.graph import NodeGraph
from featurebank.backbone.openvino_networks.input_form import InputForm, input_form
from featurebank.backbone.openvino_networks.model_file import check_model_file
from featurebank.backbone.openvino_networks.network import Examined, OpenVINOBackbone, examine
from featurebank.backbone.openvino_networks.spec import FileNetwork
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.resize import rule_of
from featurebank.backbone.spec import OWN
from featurebank.errors import ConfigError, UnknownNameError, unknown_name
from featurebank.system.imports.openvino import compile_model, import_openvino, preserve_signal_stack
from featurebank.system.progress import step
from featurebank.words import counted

_CHOICES = ", ".join(DECLARED)
_EXPORTED = "none"
"""The preprocessing of models that featurebank exported: it is a part of them."""
_TOLERANCE = 1e-3
_SHOWN = 5e-4
"""The smallest fraction of the work that is mentioned."""
_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def load_model_file(name: str, options: BackboneOptions) -> OpenVINOBackbone:
    """Loads a network from a model file; imports OpenVINO, but neither Keras nor TensorFlow.

    Args:
        name: the path of an .onnx or .xml file.
        options: the preprocessing is needed unless featurebank exported the file; the image size, if the network takes
            images of any size.

    Returns:
        The backbone.

    Raises:
        ConfigError: the file does not exist, or its network cannot be a backbone; the input that it expects is not
            declared; or weights are named.
        WeightsError: the file or its weights are damaged, missing, or not safe to open.
    """
    if options.weights not in {None, OWN}:
        message = f"weights '{options.weights}' for {name}: the file holds its weights; leave --weights out"
        raise ConfigError(message)
    path = Path(name).expanduser()
    if not path.exists():
        message = f"there is no model file '{path}': check the path, or name a backbone of 'featurebank backbones'"
        raise ConfigError(message)
    with step(f"reading {path.name}"):
        file = check_model_file(path)
        model = file.read(options.image_size)
        about, form = file.about(model), input_form(model, name)
        size = form.image_size(name, _declared_size(about) if options.image_size is None else options.image_size)
        rule = _preprocessing(name, about, options.preprocessing)
        with preserve_signal_stack():
            examined = examine(model, form, size, rule, name, all_named=path.suffix == ".xml")
            if form.batch is not None:
                _check_batch(form, size, examined, name)
    channels, pooling = _channels(examined)
    called = as_part_of_path(path.stem)
    spec = FileNetwork(
        called, size, size, channels, _parameters(examined.model), rule, name, file, pooling, _resize_rule(about),
        _description(called, examined.graph, examined.features),
    )  # fmt: skip
    backbone = OpenVINOBackbone.of_options(spec, options, size, weights=None)
    backbone.input, backbone._network = form, examined
    return backbone


def _preprocessing(name: str, about: dict[str, Any], option: str | None) -> str:
    """Returns the identifier of the preprocessing; it must be stated, and not in two different ways."""
    if option is not None and option not in DECLARED:
        raise unknown_name("preprocessing", option, DECLARED)
    if about and option not in {None, _EXPORTED}:
        message = f"{name} was exported by featurebank with its preprocessing, got '{option}': leave it out"
        raise ConfigError(message)
    if not about and option is None:
        message = f"{name} does not declare the input that it expects: use --preprocessing with one of {_CHOICES}"
        raise ConfigError(message)
    return DECLARED[option or _EXPORTED]


def _declared_size(about: dict[str, Any]) -> int | None:
    size = about.get("image_size")
    return size if isinstance(size, int) else None


def _resize_rule(about: dict[str, Any]) -> str:
    """Returns the resize rule that the file states; empty if there is none that this featurebank knows."""
    try:
        return rule_of(str(about["resize"])) if "resize" in about else ""
    except UnknownNameError:
        return ""


def _channels(examined: Examined) -> tuple[int, str]:
    """Returns the width of `pooled` and the words for it; 0 and empty if the network has none by default."""
    graph, features = examined.graph, examined.features
    if isinstance(features, str):
        return 0, ""
    place = features.last if features.pooled is None else features.pooled
    return (graph.nodes[place].row or (0,))[-1], features.pooling


def _parameters(model: Any) -> int:
    """Returns the number of the network's numbers, without those that are shapes and axes."""
    constants = [operation for operation in model.get_ordered_ops() if operation.get_type_name() == "Constant"]
    kinds = {"f32", "f16", "bf16", "f64", "i8", "u8", "i4", "u4"}
    return sum(
        math.prod(operation.get_output_shape(0))
        for operation in constants
        if operation.get_output_element_type(0).get_type_name() in kinds
    )


def _description(called: str, graph: NodeGraph, features: GraphFeatures | str) -> str:
    if isinstance(features, str):
        return f"{called} has no map, tokens or pooled vector by default: {features}"
    node = graph.nodes[features.last]
    shape = " x ".join(map(str, node.row or ()))
    left_out = (
        f"; {100 * features.after:.1f} % of the work follows it and is omitted" if features.after >= _SHOWN else ""
    )
    kind, what = ("tokens", f" ({features.layout.describe()})") if features.layout else ("map", "")
    pooled = f"; pooled: {features.pooling}" if features.pooling else ""
    own = ", which the network itself does not pool" if features.layout and features.pooled is None else ""
    return f"{kind} of {called}: the output of '{node.name or node.kind}', {shape}{what}{pooled}{own}{left_out}"


def _check_batch(form: InputForm, size: int, examined: Examined, origin: str) -> None:
    """Checks that a network whose file fixes the number of images computes the same for each image of others.

    Raises:
        ConfigError: it mixes images.
    """
    count = int(form.batch or 1)
    images = np.random.default_rng(0).integers(0, 256, (2 * count, size, size, 3), dtype=np.uint8)
    nodes = [node for place in examined.graph.outputs if (node := examined.graph.nodes[place]).row]
    outputs = [node.operation.output(0) for node in nodes]
    together = _outputs(outputs, examined.model, images)
    halves = [_outputs(outputs, examined.model, part) for part in (images[:count], images[count:])]
    apart = [np.concatenate(parts) for parts in zip(*halves, strict=True)]
    agree = all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=_TOLERANCE * np.abs(other).max())
        for one, other in zip(together, apart, strict=True)
    )
    if not nodes or not agree:
        message = (
            f"{origin} works only for the {counted(count, 'image')} at a time that its file fixes, and mixes others: "
            "export it with a dynamic first axis (in PyTorch dynamic_shapes, or dynamic_axes)"
        )
        raise ConfigError(message)


def _outputs(outputs: Sequence[Any], model: Any, images: np.ndarray) -> list[np.ndarray]:
    openvino = import_openvino()
    if not outputs:
        return []
    whole = openvino.Model(list(outputs), model.get_parameters()).clone()
    whole.reshape(list(images.shape))
    compiled = compile_model(openvino.Core(), whole, _EXACT)
    return [np.array(values) for values in compiled(images).values()]
