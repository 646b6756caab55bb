"""Trained heads as ordinary Keras layers: what `keras_layers_` of each head is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.errors import HeadError

_VECTOR_RANK = 2


def flat(tensor: Any) -> Any:
    """Returns features as (n, d): maps are flattened, in the order in which heads take them."""
    import keras

    return tensor if len(tensor.shape) == _VECTOR_RANK else keras.layers.Flatten(name="head_flatten")(tensor)


def dense(tensor: Any, kernel: np.ndarray, bias: np.ndarray, name: str, activation: str | None = None) -> Any:
    """Adds a dense layer that has its weights.

    Args:
        tensor: a Keras tensor (n, d).
        kernel: (d, units).
        bias: (units,).
        name: of the layer.
        activation: in Keras's words.

    Raises:
        HeadError: the tensor has another width.
    """
    import keras

    if tensor.shape[-1] != len(kernel):
        message = f"the tap has {tensor.shape[-1]} features, the head was trained on {len(kernel)}: take its own tap"
        raise HeadError(message)
    layer = keras.layers.Dense(kernel.shape[1], activation, name=name)
    found = layer(tensor)
    layer.set_weights([np.asarray(kernel, np.float32), np.asarray(bias, np.float32)])
    return found
