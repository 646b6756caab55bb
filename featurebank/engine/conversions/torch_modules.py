"""Networks of PyTorch in OpenVINO, through a trace of the module."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.engine.conversions.table import Conversion, name_outputs
from featurebank.engine.saved_networks import tap_name
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.imports.torch import import_torch

_EXAMPLES = 3
"""Images of the trace. The engine compares features of another number: it finds traces that hold for this one alone."""


def conversion_of(backbone: Backbone, taps: Sequence[str]) -> Conversion:
    """Converts taps of a network of PyTorch; see `table.conversion_of`."""
    torch = import_torch()
    module = cast("TorchBackbone", backbone).tap_module(taps)

    def original(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [np.asarray(value) for value in module(torch.from_numpy(images))]

    images = torch.zeros((_EXAMPLES, backbone.image_size, backbone.image_size, 3), dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # traces warn of Python code that depends on shapes; the features are compared
        model = import_openvino().convert_model(module, example_input=images)
    name_outputs(model, [tap_name(place) for place in range(len(taps))])
    return Conversion(model, original)
