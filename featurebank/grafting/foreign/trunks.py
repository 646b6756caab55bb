"""The trunk of a graft whose network is not one of Keras: the network up to the tap, as a model of OpenVINO.

It is the same conversion that the engine computes features with, and it needs none of the libraries that made the
network. It lives in memory as the two parts of OpenVINO's files: the description and the weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.engine.openvino import convert_network
from featurebank.engine.saved_networks import tap_name
from featurebank.system.imports.openvino import compile_model, import_openvino, preserve_signal_stack
from featurebank.system.runtime import threads

DESCRIPTION, WEIGHTS = "trunk.xml", "trunk.bin"
"""The names of its parts in an archive."""
IMAGE = "image"
"""The name of the input in ONNX and OpenVINO files."""


class OpenVINOTrunk:
    """A network up to a tap: (n, s, s, 3) RGB 0..255 -> the features, float32.

    Args:
        description: the content of an .xml file of OpenVINO, with one input and one output.
        weights: (n,) uint8, the content of the .bin file.
    """

    def __init__(self, description: bytes, weights: np.ndarray) -> None:
        self.description, self.weights = description, weights

    @classmethod
    def of(cls, backbone: Backbone, taps: Sequence[str]) -> OpenVINOTrunk:
        """Converts a network up to some taps, whose vectors are joined if there are several.

        Raises:
            EngineError: OpenVINO cannot run this network.
            UnknownNameError: the network has no such tap.
        """
        with preserve_signal_stack(), tempfile.TemporaryDirectory() as place:
            openvino = import_openvino()
            model = _joined(convert_network(backbone, taps), len(taps))
            (parameter,) = model.get_parameters()
            parameter.set_element_type(openvino.Type.f32)  # pixels may be between whole numbers, after a resize
            parameter.set_partial_shape(openvino.PartialShape([-1, backbone.image_size, backbone.image_size, 3]))
            parameter.set_friendly_name(IMAGE)
            parameter.output(0).set_names({IMAGE})
            model.validate_nodes_and_infer_types()
            openvino.serialize(model, Path(place, DESCRIPTION), Path(place, WEIGHTS))
            return cls(Path(place, DESCRIPTION).read_bytes(), np.fromfile(Path(place, WEIGHTS), np.uint8))

    def model(self) -> Any:
        """Returns a new `openvino.Model`, which the caller may change."""
        openvino = import_openvino()
        return openvino.Core().read_model(self.description, openvino.Tensor(self.weights))

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of the features of one image."""
        _, *lengths = self.model().output(0).get_partial_shape()
        return tuple(int(length.get_length()) for length in lengths)

    def predict(self, images: np.ndarray, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Returns features (n, ...) float32.

        Args:
            images: (n, s, s, 3) RGB from 0 to 255.
            batch_size: the number of images per batch.
            verbose: not used; Keras's models have it.
        """
        with preserve_signal_stack():
            starts = range(0, len(images), batch_size)
            parts = [self._compiled(np.asarray(images[s : s + batch_size], np.float32))[0].copy() for s in starts]
        return np.concatenate(parts)

    @cached_property
    def _compiled(self) -> Any:
        # By default OpenVINO would compute in bfloat16 on processors that have it.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
        return compile_model(import_openvino().Core(), self.model(), options)


def _joined(model: Any, taps: int) -> Any:
    """Returns a model of OpenVINO with one output: that of its only tap, or those of all taps side by side."""
    if taps == 1:
        return model
    openvino = import_openvino()
    outputs = [model.output(tap_name(place)).get_node().input_value(0) for place in range(taps)]
    return openvino.Model([openvino.opset13.concat(outputs, 1)], model.get_parameters(), "trunk")
