"""Trained heads as ordinary Keras layers: what `keras_layers_` of each head is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.words import counted

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
        message = (
            f"the tap has {counted(tensor.shape[-1], 'feature')}, the head was trained on {len(kernel)}: take its "
            "own tap"
        )
        raise HeadError(message)
    layer = keras.layers.Dense(kernel.shape[1], activation, name=name)
    return weighted(layer, tensor, [kernel, bias])


def weighted(layer: Any, tensor: Any, weights: Sequence[np.ndarray]) -> Any:
    """Calls a Keras layer on a tensor and gives it its weights."""
    output = layer(tensor)
    layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
    return output


def averaged_class_maps(
    tensor: Any, classes: int, *, weights: Sequence[np.ndarray] = (), start: Any = None, rectified: bool = False
) -> Any:
    """Adds a 1x1 convolution to one map a class, the layer "head_class_maps", and their averages: the logits.

    Args:
        tensor: a Keras tensor of maps (n, h, w, c).
        classes: how many there are.
        weights: kernel (1, 1, c, classes) and bias (classes,) of a trained head.
        start: initializer of the kernel of a head that is to be trained.
        rectified: whether negative values of the class maps count as 0.

    Returns:
        Logits (n, classes).
    """
    import keras

    layer = keras.layers.Conv2D(classes, 1, kernel_initializer=start or "glorot_uniform", name="head_class_maps")
    maps = weighted(layer, tensor, weights) if weights else layer(tensor)
    if rectified:
        maps = keras.layers.ReLU(name="head_class_maps_relu")(maps)
    return keras.layers.GlobalAveragePooling2D(name="head_logits")(maps)


def activated(tensor: Any, activation: str, place: str, tensors: Mapping[str, np.ndarray], name: str) -> Any:
    """Adds an activation, and batch normalisation "before" or "after" it.

    Args:
        tensor: a Keras tensor.
        activation: in Keras's words.
        place: of the batch normalisation; "" for none.
        tensors: with "gamma_NAME", "beta_NAME", "mean_NAME" and "variance_NAME" where there is one.
        name: of the layer before, as "dense0".
    """
    import keras

    for step in {"before": ("norm", "act"), "after": ("act", "norm"), "": ("act",)}[place]:
        if step == "act":
            tensor = keras.layers.Activation(activation, name=f"head_{name}_activation")(tensor)
        else:
            layer = keras.layers.BatchNormalization(name=f"head_{name}_norm")
            parts = ("gamma", "beta", "mean", "variance")
            tensor = weighted(layer, tensor, [tensors[f"{part}_{name}"] for part in parts])
    return tensor
