"""Builds the classification networks of `keras.applications` as flat graphs that take RGB from 0 to 255."""

from __future__ import annotations

import math
import re
import warnings
from collections import defaultdict
from typing import Any

from featurebank.backbone.preprocess import prepare
from featurebank.backbone.table import BackboneSpec

# Keras adds this division to EfficientNet only where it loads the weights of ImageNet itself.
_EFFICIENTNET_DEVIATION = (0.229, 0.224, 0.225)


def build(spec: BackboneSpec, image_size: int, *, top: bool) -> Any:
    """Builds a network without meaningful weights.

    Args:
        spec: a network of `keras.applications`.
        image_size: the side of the square input in pixels.
        top: whether the classifier of ImageNet follows.

    Returns:
        A Keras functional model, (n, s, s, 3) float32 RGB 0..255 -> the last map, or (n, 1000) probabilities.
    """
    import keras

    inputs = keras.Input((image_size, image_size, 3), name="image")
    with warnings.catch_warnings():
        # MobileNet warns that it would load the weights of 224 pixels; that is what we do.
        warnings.simplefilter("ignore")
        model = getattr(keras.applications, spec.constructor)(
            weights=None,
            include_top=top,
            input_tensor=prepare(inputs, spec.preprocessing),
            input_shape=(image_size, image_size, 3),
        )
    name_as_in_new_process(model)
    # Keras hands out a list of one input, and would warn at every call with the bare tensor.
    return keras.Model(inputs, model.output, name=spec.name)


def finish(spec: BackboneSpec, model: Any) -> Any:
    """Brings a network that has its weights into its final form.

    EfficientNet B0 to B7 get the division that their ImageNet weights expect; nested Sequential parts (ConvNeXt's
    downsampling) are unfolded so that every layer can be reached by name. Weights files have the order of the
    unfinished network, therefore this comes after loading.

    Returns:
        The model itself where nothing is to be done, otherwise a new one with the same weights.
    """
    import keras

    if not spec.divides_by_deviation and not any(hasattr(layer, "layers") for layer in model.layers):
        return model

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Sequential):
            (x,) = args
            for part in layer.layers:
                x = type(part).from_config(part.get_config())(x)
            return x
        x = layer(*args, **kwargs)
        if spec.divides_by_deviation and isinstance(layer, keras.layers.Normalization):
            scale = [1 / math.sqrt(deviation) for deviation in _EFFICIENTNET_DEVIATION]
            x = keras.layers.Rescaling(scale, name="deviation")(x)
        return x

    finished = keras.models.clone_model(model, call_function=call)
    finished.set_weights(model.get_weights())
    return finished


def name_as_in_new_process(model: Any) -> None:
    """Renames the layers that Keras numbered by a counter of the whole process.

    `conv2d_93` of the first network of a process would be `conv2d_187` in the second, and a tap must mean the same
    layer everywhere.
    """
    groups: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for operation in model.operations:
        base = _snake_case(type(operation).__name__)
        if match := re.fullmatch(rf"{base}(?:_(\d+))?", operation.name):
            groups[base].append((int(match[1] or 0), operation))
    for base, numbered in groups.items():
        for number, (_, operation) in enumerate(sorted(numbered, key=lambda pair: pair[0])):
            operation.name = f"{base}_{number}" if number else base


def _snake_case(name: str) -> str:
    """Turns a class name into the base of the names that Keras gives, as BatchNormalization -> batch_normalization."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
