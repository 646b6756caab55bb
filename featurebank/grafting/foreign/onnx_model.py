"""Grafts as ONNX: the trunk as PyTorch writes it or as the user's .onnx file has it, and behind it the head."""

from __future__ import annotations

import io
from typing import Any, cast

from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.errors import ConfigError
from featurebank.grafting.converters import IMAGE, OPSET, OUTPUTS, explain_missing_extra, quiet, to_onnx
from featurebank.grafting.foreign.graft import ForeignGraft
from featurebank.grafting.foreign.onnx_file import connect, file_trunk
from featurebank.system.imports.torch import import_torch

_FEATURES, _HEAD = "features", "head_"
_EXAMPLES = 2


def foreign_to_onnx(graft: ForeignGraft, metadata: dict[str, str]) -> Any:
    """Returns trunk and head as one ONNX `ModelProto` with the input "image" and the output "probabilities".

    Args:
        graft: of a network of PyTorch or of an .onnx file.
        metadata: entries of the file's metadata.

    Raises:
        ConfigError: the .onnx file has no name for the tap, or there are several taps of an .onnx file.
        MissingDependencyError: a package is not installed.
    """
    with explain_missing_extra("onnx"):
        import onnx
    if isinstance(graft.backbone, OpenVINOBackbone):
        if len(graft.taps) > 1:
            message = (
                f"{graft.backbone.name} is a network of an .onnx file, of which a model with several taps cannot be an "
                ".onnx file again: write .xml or .fbmodel"
            )
            raise ConfigError(message)
        trunk = file_trunk(graft.backbone, graft.taps[0])
    else:
        trunk = onnx.load_model_from_string(_trunk(graft))
    model = connect(trunk, to_onnx(graft.layers, {}), _HEAD)
    for place, name in enumerate(OUTPUTS[: len(model.graph.output)]):
        _rename_output(model, place, name)
    onnx.helper.set_model_props(model, metadata)
    return model


def _trunk(graft: ForeignGraft) -> bytes:
    """Returns the network up to the tap as an ONNX file."""
    torch, file = import_torch(), io.BytesIO()
    module = _side_by_side(cast("TorchBackbone", graft.backbone).tap_module(graft.taps), len(graft.taps))
    images = torch.zeros((_EXAMPLES, graft.backbone.image_size, graft.backbone.image_size, 3))
    with quiet(), torch.no_grad():
        # PyTorch's other way to ONNX needs a package more, and writes only later operator sets.
        torch.onnx.export(
            module, (images,), file, dynamo=False, opset_version=OPSET, input_names=[IMAGE], output_names=[_FEATURES],
            dynamic_axes={IMAGE: {0: "images"}, _FEATURES: {0: "images"}},
        )  # fmt: skip
    return file.getvalue()


def _side_by_side(module: Any, taps: int) -> Any:
    """Returns a module of PyTorch that joins the vectors of several taps."""
    if taps == 1:
        return module
    torch: Any = import_torch()

    class _Joined(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.taps = module

        def forward(self, images: Any) -> Any:
            return torch.cat(self.taps(images), dim=1)

    return _Joined().eval()


def _rename_output(model: Any, number: int, new: str) -> None:
    old = model.graph.output[number].name
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == old:
                node.output[place] = new
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
    model.graph.output[number].name = new
