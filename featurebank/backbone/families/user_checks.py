"""Checks of custom networks: a functional Keras model with one square RGB input and one output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurebank.backbone.keras_networks.unfold import is_functional
from featurebank.errors import ConfigError

_MAP_AXES = 3
_CHANNELS = 3


def checked_model(model: Any, origin: str) -> Any:
    """Returns the model if its layers can be read.

    Raises:
        ConfigError: they cannot.
    """
    if problem := _problem(model):
        message = f"{origin} {problem}"
        raise ConfigError(message)
    return model


def _problem(model: Any) -> str:
    """Describes what is wrong with a model and what was expected; returns "" for a valid one."""
    import keras

    kind = type(model)
    if not isinstance(model, keras.Model):
        return f"is of type {kind.__module__}.{kind.__name__}: expected a Keras model or a module of PyTorch"
    if not is_functional(model):
        return (
            f"is a subclass of keras.Model ({kind.__name__}) whose layers are hidden: expected a functional model, "
            "keras.Model(inputs, outputs)"
        )
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        return "does not know its input: expected a model that begins with keras.Input((224, 224, 3))"
    return _problem_of_shapes(inputs, outputs)


def _problem_of_shapes(inputs: Sequence[Any], outputs: Sequence[Any]) -> str:
    if len(inputs) != 1 or len(outputs) != 1:
        return f"has {len(inputs)} inputs and {len(outputs)} outputs: expected one of each"
    shape = tuple(inputs[0].shape[1:])
    if len(shape) != _MAP_AXES or shape[-1] != _CHANNELS:
        return f"takes an input of shape {shape}: expected RGB images, (height, width, 3)"
    if shape[0] != shape[1]:
        return f"takes images of {shape[0]} x {shape[1]} pixels: expected a square, or (None, None, 3)"
    return ""


def input_size(model: Any, origin: str, size: int | None) -> int:
    """Returns the side of the input: the model's, or `size` if the model leaves it open."""
    side = model.inputs[0].shape[1]
    if side is None and size is None:
        message = f"{origin} takes images of any size: choose one, as --image-size 224"
        raise ConfigError(message)
    if side is not None and size not in {None, side}:
        message = f"{origin} takes images of {side} x {side} pixels, got image size {size}: leave it out"
        raise ConfigError(message)
    if size is not None and (not isinstance(size, int) or size < 1):
        message = f"image size {size}: expected a number of pixels, as 224"
        raise ConfigError(message)
    return int(side or size or 0)
