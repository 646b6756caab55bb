"""The TensorFlow engine: one traced function over constants, for requests of one shape."""

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
"""What the network can be computed in; the last two on a GPU alone."""

_REQUEST = 16
"""Images of 224 x 224 pixels that a request holds.

Measured on two cores, images a second. EfficientNet-Lite0: 190 for 1 image, 240 for 2, 310 for 4, 345 for 8, 358 for
16, 348 for 32; ResNet50: 56 for 4 and more."""


_CONSTANTS_BYTES = 200 << 20
"""Weights up to here are constants of the function.

TensorFlow prepares constants once for all images, but copies them ten times before the first: ConvNeXt-Large (0.8 GB)
peaked at 22 GB with constants, at 9 GB without, at the same speed."""


class TensorFlowEngine(PooledEngine):
    """Runs a backbone's taps in one `tf.function` of a fixed shape, so that it is traced once.

    Weights that are not large are constants of the function, so that TensorFlow can prepare them once for all images.

    Args:
        backbone: the network to run.
        taps: what to compute in one pass; the network is cut after the last layer that they need.
        batch_size: how many images are handed over at once.
        precision: "float32", on a GPU also "float16" or "bfloat16".
        cache: not used: nothing of this engine would make its next start faster.
        say: not used: this engine has no warnings.

    Raises:
        ConfigError: the precision is not one of this engine, or not one of this device.
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
        if gpus and policy == "float32":  # otherwise it would be computed with 10 bits of 23 on recent ones
            tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
        size = backbone.image_size
        # Two at a time: while one waits for its threads to come together, or for a GPU's memory, the other computes.
        workers = 2 if gpus else min(2, threads())
        request = batch_size if gpus else request_size(size, batch_size, most=_REQUEST)
        forward = _function(tf, with_policy(backbone.tap_model(taps), policy), (request, size, size, 3))
        runs = [_TensorFlowRequest(tf, forward, (request, size, size, 3)) for _ in range(workers)]
        super().__init__(runs, request=request, batch_size=batch_size, image_size=size)
        self.precision = precision


def dtype_policy(precision: str, gpus: int) -> str:
    """Returns the policy of Keras in which a network gives features of some precision.

    On a processor only float32: bfloat16 in OpenVINO is 1.4 times as fast as in TensorFlow (ResNet50; Lite0: 1.3).

    Raises:
        ConfigError: there is no such precision, or not on this device.
    """
    if precision not in PRECISIONS:
        message = f"engine tensorflow cannot compute in '{precision}': expected {', '.join(PRECISIONS)}"
        raise ConfigError(message)
    if precision == "float32":
        return "float32"
    if not gpus:
        message = (
            f"engine tensorflow computes in {precision} on a GPU only, and none is visible: use float32, or bfloat16 "
            "with --engine openvino"
        )
        raise ConfigError(message)
    return f"mixed_{precision}"


class _TensorFlowRequest:
    """The function, and room for a request that is shorter than its shape."""

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
            found = self._forward(self._tf.constant(images))
            return {tap: value.numpy()[:count] for tap, value in found.items()}
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
        found, _ = model.stateless_call(*weights, tf.cast(images, tf.float32), training=False)
        return {tap: tf.cast(value, tf.float32) for tap, value in found.items()}

    forward.get_concrete_function()
    return forward


def with_policy(model: Any, policy: str) -> Any:
    """Returns the network with its layers in another precision; images and variables stay float32."""
    import keras

    if policy == "float32":
        return model

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.Layer):
            config["dtype"] = policy
        return type(layer).from_config(config)

    made = keras.models.clone_model(model, clone_function=clone)
    made.set_weights(model.get_weights())
    return made
