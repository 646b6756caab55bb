"""The TensorFlow engine: one traced function over batches of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.engine.immediate import Immediate
from featurebank.runtime import import_tensorflow


class TensorFlowEngine(Immediate):
    """Runs a backbone's taps in one `tf.function` of a fixed batch shape, so that it is traced once.

    Args:
        backbone: the network to run.
        taps: what to compute in one pass; the network is cut after the last layer that they need.
        batch_size: how many images are run at once; a smaller batch is padded.
    """

    name = "tensorflow"
    precision = "float32"

    def __init__(self, backbone: Backbone, taps: Sequence[str], *, batch_size: int) -> None:
        tf = import_tensorflow()
        model = backbone.tap_model(taps)
        shape = (batch_size, backbone.image_size, backbone.image_size, 3)

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
        def forward(images: Any) -> dict[str, Any]:
            outputs: dict[str, Any] = model(tf.cast(images, tf.float32), training=False)
            return outputs

        self._forward = forward
        self._batch = np.zeros(shape, np.uint8)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the taps of at most `batch_size` images; see `Engine`."""
        count = len(images)
        self._batch[:count] = images
        outputs = self._forward(self._batch)
        return {tap: np.asarray(value, np.float32)[:count] for tap, value in outputs.items()}
