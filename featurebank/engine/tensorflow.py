"""The TensorFlow engine: one traced function of constant weights and one request shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.engine.devices import visible_gpus
from featurebank.engine.folding import folded_values
from featurebank.engine.pool import PooledEngine, request_size
from featurebank.errors import ConfigError, EngineError
from featurebank.system.runtime import import_tensorflow, threads

PRECISIONS = ("float32", "float16", "bfloat16")
"""The supported precisions; the last two only on a GPU."""

_REQUEST = 16
"""Images of 224 x 224 pixels per request.

Measured on two cores, images a second. EfficientNet-Lite0: 190 for 1 image, 240 for 2, 310 for 4, 345 for 8, 358 for
16, 348 for 32; ResNet50: 56 for 4 and more."""


_CONSTANTS_BYTES = 200 << 20
"""Weights up to this size become constants of the function.

TensorFlow optimizes constants once for all images, but copies them ten times before the first one: ConvNeXt-Large
(0.8 GB) peaked at 22 GB with constants and at 9 GB without, at the same speed."""


class TensorFlowEngine(PooledEngine):
    """Runs a backbone's taps in one `tf.function` of a fixed shape, so that it is traced only once.

    Weights of moderate size become constants of the function, so that TensorFlow optimizes them once for all images.

    Args:
        backbone: the network to run.
        taps: what to compute in one pass; the network is cut after the last layer that they need.
        batch_size: how many images are handed over at once.
        precision: "float32", on a GPU also "float16" or "bfloat16".
        cache: not used: nothing of this engine would make its next start faster.
        say: not used: this engine has no warnings.

    Raises:
        ConfigError: the engine or the device does not support the precision.
        UnknownNameError: the network has no such tap.
    """

    name = "tensorflow"

    def __init__(
        self, backbone: Backbone, taps: Sequence[str], *, batch_size: int, precision: str = "float32",
        cache: Path | None = None, say: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        gpus = visible_gpus()
        policy = dtype_policy(precision, gpus)
        tf = import_tensorflow()
        if gpus and policy == "float32":  # recent GPUs would compute with 10 of the 23 bits
            tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
        size = backbone.image_size
        # Two at a time: while one waits for its threads to join, or for a GPU's memory, the other computes.
        workers = 2 if gpus else min(2, threads())
        request = batch_size if gpus else request_size(size, batch_size, most=_REQUEST)
        forward = _function(tf, with_policy(backbone.tap_model(taps), policy), (request, size, size, 3))
        runs = [_TensorFlowRequest(tf, forward, (request, size, size, 3)) for _ in range(workers)]
        super().__init__(runs, request=request, batch_size=batch_size, image_size=size)
        self.precision = precision


def dtype_policy(precision: str, gpus: int) -> str:
    """Returns the Keras dtype policy that computes in a precision.

    On a processor only float32: bfloat16 is 1.4 times as fast in OpenVINO as in TensorFlow (ResNet50; Lite0: 1.3).

    Raises:
        ConfigError: the engine or this device does not support the precision.
    """
    if precision not in PRECISIONS:
        message = f"engine tensorflow cannot compute in '{precision}': expected {', '.join(PRECISIONS)}"
        raise ConfigError(message)
    if precision == "float32":
        return "float32"
    if not gpus:
        message = (
            f"engine tensorflow computes in {precision} only on a GPU, and none is visible: use float32, or bfloat16 "
            "with --engine openvino"
        )
        raise ConfigError(message)
    return f"mixed_{precision}"


class _TensorFlowRequest:
    """The traced function, with a buffer that pads a partial request to the full shape."""

    def __init__(self, tf: Any, forward: Any, shape: tuple[int, ...]) -> None:
        self._tf = tf
        self._forward = forward
        self._padded = np.zeros(shape, np.uint8)

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        count = len(images)
        if count < len(self._padded):
            self._padded[:count] = images
            images = self._padded
        try:
            features = self._forward(self._tf.constant(images))
            return {tap: value.numpy()[:count] for tap, value in features.items()}
        except self._tf.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message) from error
        except self._tf.errors.OpError as error:
            reason = " ".join(str(error.message).split())[:300]
            message = f"engine tensorflow failed on a batch: {reason}; try a smaller --batch-size"
            raise EngineError(message) from error


def _function(tf: Any, model: Any, shape: tuple[int, ...]) -> Any:
    values = folded_values(model)
    trainable, frozen = (
        [values[id(variable)] for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    large = sum(value.nbytes for group in (trainable, frozen) for value in group) > _CONSTANTS_BYTES
    outside = [[tf.constant(value) for value in group] for group in (trainable, frozen)] if large else None

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
    def forward(images: Any) -> dict[str, Any]:
        weights = outside or [[tf.constant(value) for value in group] for group in (trainable, frozen)]
        features, _ = model.stateless_call(*weights, tf.cast(images, tf.float32), training=False)
        return {tap: tf.cast(value, tf.float32) for tap, value in features.items()}

    forward.get_concrete_function()
    return forward


def with_policy(model: Any, policy: str) -> Any:
    """Clones the network with its layers in another precision; images and variables stay float32."""
    import keras

    if policy == "float32":
        return model

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.Layer):
            config["dtype"] = policy
        return type(layer).from_config(config)

    network = keras.models.clone_model(model, clone_function=clone)
    network.set_weights(model.get_weights())
    return network
