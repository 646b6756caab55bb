"""Fitted heads as functions: as weights, or as ordinary Keras layers, and what these are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.words import counted

_VECTOR_RANK = 2


class HeadFunctions:
    """What a fitted head is beside a classifier: a base of all heads.

    Models are made of `keras_layers_`. Explanations ask for the scores of the classes, which do not saturate as
    probabilities do: the score of a class grows with its probability while the scores of the others stay the same.
    """

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the head as one dense layer on raw features: `predict_proba(X)` is softmax(X @ weights + bias).

        Returns:
            Weights (d, classes) and bias (classes,), in the order of `classes_`. A head on the average of a map has one
            weight for each channel.

        Raises:
            HeadError: it is no such layer.
        """
        message = f"{type(self).__name__} with these parameters is no linear function of the features"
        raise HeadError(message)

    def linear_scores_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores of the classes as a linear function of raw features, X @ weights + bias; see `linear_`.

        Raises:
            HeadError: they are no linear function of the features.
        """
        return self.linear_()

    def score_gradients_(self, X: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns the gradient of a score by the features, in plain numpy: (n, d).

        Args:
            X: (n, d) features.
            places: (n,) the class of each row, as a place in `classes_`.

        Raises:
            HeadError: the head does not compute it in numpy; its Keras layers may nevertheless have gradients.
        """
        weights, _ = self.linear_scores_()
        return np.asarray(weights.T[places])

    def keras_layers_(self, tensor: Any) -> Any:
        """Applies the fitted head to a Keras tensor, as ordinary Keras layers with the head's weights.

        Args:
            tensor: a Keras tensor of the head's features, (n, d) or (n, h, w, c) float32.

        Returns:
            A Keras tensor of logits (n, classes), in the order of `classes_`; their softmax is `predict_proba`.

        Raises:
            HeadError: the head cannot become layers.
        """
        message = f"{type(self).__name__} is not made of layers"
        raise HeadError(message)

    def keras_scores_(self, tensor: Any) -> Any:
        """Applies the head to a Keras tensor like `keras_layers_`, up to the scores of the classes, (n, classes)."""
        return self.keras_layers_(tensor)


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
