"""The features that a model compares with those of its training images, as a second output beside the probabilities.

They are what its head takes, averaged over places: of a fine-tune, the input of its last layer. Programs that know
nothing of them find the probabilities where they always were, in the first output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from featurebank.runs.finetuned import PROBABILITIES

EMBEDDING = "embedding"
"""The name of the second output, where a format has names."""
_DENSE = ("Dense", "Conv2D")


class ModelOutputs(NamedTuple):
    """What a model returns for a batch of images."""

    probabilities: np.ndarray
    """(n, classes) float32."""
    embedding: np.ndarray | None = None
    """(n, d) float32, the features averaged over places; None if the model does not return them."""


def averaged(features: np.ndarray) -> np.ndarray:
    """Returns features (n, ..., d) as vectors (n, d): the average over the places of maps, or over tokens."""
    return features.mean(axis=tuple(range(1, features.ndim - 1))) if features.ndim > 2 else features  # noqa: PLR2004


def outputs_of(values: Any) -> ModelOutputs:
    """Returns the one or two outputs of a model as arrays."""
    arrays = [np.asarray(value) for value in values] if isinstance(values, list | tuple) else [np.asarray(values)]
    return ModelOutputs(*arrays[:2])


def batch_function(model: Any) -> Callable[[np.ndarray], ModelOutputs]:
    """Returns a function that runs a Keras model on a batch of images."""
    return lambda images: outputs_of(model.predict_on_batch(images))


def operation_of(trunk: Any) -> str:
    """Returns the name of the operation of a Keras model that computes its output."""
    return str(next(one.name for one in trunk.operations if one.output is trunk.output))


def last_input(model: Any) -> str:
    """Returns the name of the operation before the last dense or convolutional layer of a classifier.

    Args:
        model: a graft of Keras layers, or a fine-tune.

    Returns:
        The name; "" if another architecture has no such layer.
    """
    inputs = {one.name: one for one in model.operations}
    place = inputs.get(PROBABILITIES)
    while place is not None and type(place).__name__ not in _DENSE:
        place = _before(model, place)
    before = None if place is None else _before(model, place)
    return "" if before is None or before.name == model.operations[0].name else str(before.name)


def _before(model: Any, operation: Any) -> Any:
    """Returns the operation that computes the only input of another; None if it has several."""
    tensor = operation.input
    return None if isinstance(tensor, list) else next((o for o in model.operations if o.output is tensor), None)


def with_embedding(model: Any, operation: str) -> Any:
    """Returns a Keras model with a second output: the features, averaged over places.

    Args:
        model: a classifier with one output.
        operation: the name of the operation that computes the features; "" for the input of the model.

    Raises:
        LookupError: the model has no such operation.
    """
    from keras import Model, ops

    tensor = next((one.output for one in model.operations if one.name == operation), None) if operation else model.input
    if tensor is None:
        message = f"no operation '{operation}'"
        raise LookupError(message)
    rank = len(tensor.shape)
    return Model(model.input, [model.output, ops.mean(tensor, axis=list(range(1, rank - 1))) if rank > 2 else tensor])  # noqa: PLR2004
