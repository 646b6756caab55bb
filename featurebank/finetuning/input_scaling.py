"""Changes a model for its training: another scaling of its input, or another precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.backbone.preprocess import CAFFE
from featurebank.engine.devices import visible_gpus
from featurebank.engine.tensorflow import with_policy
from featurebank.errors import ConfigError
from featurebank.extraction.source_images import SourceImages

_LAYER = "preprocessing"
_CHUNK = 256


def normalized(model: Any, images: SourceImages, preprocessing: str) -> Any:
    """Returns the model with other preprocessing: each channel of the training images gets mean 0 and variance 1.

    Args:
        model: a graft.
        images: the training images.
        preprocessing: the name of the network's preprocessing.

    Raises:
        ConfigError: the network has no separate preprocessing layer.
    """
    import keras

    if _LAYER not in [layer.name for layer in model.layers]:
        message = (
            "normalize replaces the network's preprocessing, but this network has no preprocessing layer: leave it out"
        )
        raise ConfigError(message)
    mean, deviation = channel_moments(images)
    if preprocessing == CAFFE:
        mean, deviation = mean[::-1], deviation[::-1]

    def clone(layer: Any) -> Any:
        if getattr(layer, "name", "") != _LAYER:
            return type(layer).from_config(layer.get_config())
        return keras.layers.Rescaling((1 / deviation).tolist(), offset=(-mean / deviation).tolist(), name=_LAYER)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def channel_moments(images: SourceImages) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and standard deviation of each channel over all pixels of all images, (3,) float64 each."""
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(images), _CHUNK):
        pixels = images.read(np.arange(start, min(start + _CHUNK, len(images)))).reshape(-1, 3).astype(np.float64)
        total += pixels.sum(axis=0)
        squares += (pixels**2).sum(axis=0)
    count = len(images) * images.size**2
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 1e-12))


def check_mixed() -> None:
    """Raises ConfigError if no device is faster in mixed precision."""
    if not visible_gpus():
        message = "mixed_precision needs a GPU, and none is visible: leave it out (a processor is slower with it)"
        raise ConfigError(message)


def mixed(model: Any) -> Any:
    """Returns the model with layers that compute in bfloat16; weights and probabilities are float32."""
    return with_policy(model, "mixed_bfloat16")
