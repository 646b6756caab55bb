"""Networks of Keras in OpenVINO, through the graph of a function of TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.engine.conversions.table import Conversion
from featurebank.engine.saved_networks import tap_name
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.runtime import import_tensorflow


def conversion_of(backbone: Backbone, taps: Sequence[str]) -> Conversion:
    """Converts taps of a network of Keras; see `table.conversion_of`."""
    tf = import_tensorflow()
    network = backbone.tap_model(taps)
    shape = (None, backbone.image_size, backbone.image_size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
    def forward(images: Any) -> dict[str, Any]:
        features = network(tf.cast(images, tf.float32), training=False)
        return {tap_name(place): features[tap] for place, tap in enumerate(taps)}

    def original(images: np.ndarray) -> list[np.ndarray]:
        features = forward(images)
        return [np.asarray(features[tap_name(place)]) for place in range(len(taps))]

    return Conversion(import_openvino().convert_model(forward.get_concrete_function()), original)
