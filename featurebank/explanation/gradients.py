"""Grad-CAM: the maps of a layer, weighted by the mean gradient of a class's score.

The score is the logit before the softmax, whose gradient does not vanish for a certain prediction.

References:
    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", ICCV 2017, arXiv:1610.02391.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.errors import ConfigError, HeadError, unknown_name
from featurebank.explanation.subject import Subject
from featurebank.grafting.stage import extended
from featurebank.grafting.trunk import taps_of, trunk_model
from featurebank.runs.finetuned import PROBABILITIES
from featurebank.system.runtime import import_tensorflow

_MAP_RANK = 4
MAP = "map"
"""The name of the last map of the network, as a tap and as a layer."""


class GradCam:
    """Computes the Grad-CAM of one layer.

    Args:
        model: a Keras model that ends with the scores (n, classes) of the classes that the head knows.
        layer: the name of a layer of it with a map; its own input for "".

    Raises:
        ConfigError: the output of the layer is no map.
    """

    def __init__(self, model: Any, layer: str) -> None:
        import keras

        tensor = _outputs(model)[layer] if layer else model.input
        if not _is_map(tensor):
            shape = " x ".join(str(side) for side in tensor.shape[1:])
            message = f"layer '{layer}' has an output of {shape}: Grad-CAM needs a map of height x width x channels"
            raise ConfigError(message)
        self.layer = layer
        self._model = keras.Model(model.input, [tensor, model.output])

    def __call__(self, inputs: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns the weighted sum of the maps of each input, (n, h, w) float32; its positive part is the heat map.

        Args:
            inputs: (n, ...) inputs of the model.
            places: (n,) the class of each, as a place among the scores.

        Raises:
            HeadError: no score has a gradient at this layer.
        """
        tf = import_tensorflow()
        with tf.GradientTape() as tape:
            x = tf.constant(inputs, tf.float32)
            tape.watch(x)  # or nothing before a frozen layer would be recorded
            maps, scores = self._model(x, training=False)
            own = tf.gather(scores, tf.constant(places, tf.int32), axis=1, batch_dims=1)
        gradients = tape.gradient(own, maps)
        if gradients is None:
            message = f"the scores have no gradient at layer '{self.layer}'"
            raise HeadError(message)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        return np.asarray(tf.reduce_sum(weights * maps, axis=-1))


def of_head(subject: Subject, layer: str | None) -> GradCam | None:
    """Returns the Grad-CAM of a model from the map that the head sees to the scores.

    So it needs no pass of the network where the bank has the map.

    Args:
        subject: what is explained.
        layer: the layer; None for the map itself, or, of heads with layers of the network, their last map.

    Returns:
        None if the head sees no map, or it has no such layer, because it is a layer of the network.

    Raises:
        HeadError: the head has no layers.
    """
    if subject.map_tap is None:
        return None
    import_tensorflow()
    import keras

    shape = subject.bank.tap_shape(subject.run.tap)
    maps = keras.Input(shape if subject.pooling is None else (None, None, shape[-1]))
    pools = {None: lambda x: x, "avg": keras.layers.GlobalAveragePooling2D(), "max": keras.layers.GlobalMaxPooling2D()}
    model = keras.Model(maps, _scores(subject, pools[subject.pooling](maps)))
    if layer is None:
        is_last = subject.map_tap == MAP or subject.pooling is not None  # no further map follows
        return GradCam(model, "") if is_last else _of_last_map(model)
    if layer == subject.map_tap:
        return GradCam(model, "")
    return GradCam(model, layer) if layer in _outputs(model) else None


def of_network(subject: Subject, layer: str | None, backbone: Backbone | None) -> GradCam:
    """Returns the Grad-CAM of a model from images to the scores.

    Args:
        subject: what is explained.
        layer: the layer; None for the last one with a map.
        backbone: the network under a head; ignored for fine-tunes.

    Raises:
        UnknownNameError: there is no such layer.
        HeadError: the head has no layers.
    """
    import_tensorflow()
    import keras

    if backbone is None or subject.is_finetune:
        model = keras.Model(subject.fitted.input, subject.fitted.get_layer(PROBABILITIES).input)
    else:
        trunk = trunk_model(backbone, taps_of(subject.bank, subject.run.tap))
        model, _ = extended(trunk, _scores(subject, trunk.output))
    outputs = _outputs(model)
    if layer is None or layer == MAP:
        return _of_last_map(model)
    if layer not in outputs:
        maps = [name for name, tensor in outputs.items() if _is_map(tensor)]
        raise unknown_name("layer", layer, maps, "'featurebank backbones NAME --layers' lists those of a network")
    return GradCam(model, layer)


def _scores(subject: Subject, tensor: Any) -> Any:
    """Applies the head to a Keras tensor of its features; returns the scores of the classes.

    Raises:
        HeadError: the head cannot become layers.
    """
    try:
        return subject.fitted.keras_scores_(tensor)
    except HeadError as error:
        message = f"{subject.run.spec} is not made of layers that have gradients"
        raise HeadError(message) from error


def _outputs(model: Any) -> dict[str, Any]:
    """Returns the output of each layer by its name, in the order of the graph; sums of tensors count as layers."""
    return {operation.name: operation.output for operation in model.operations if hasattr(operation.output, "shape")}


def _of_last_map(model: Any) -> GradCam:
    """Returns the Grad-CAM of the last layer with a map of more than one place on which the scores depend.

    They may not depend on the last map of all: ConvNeXt's own normalises the map, and the average once more.
    """
    image = np.zeros((1, *model.input.shape[1:]), np.float32)
    for name, tensor in reversed(_outputs(model).items()):
        if _is_map(tensor) and _places(tensor) > 1:
            grad_cam = GradCam(model, name)
            with contextlib.suppress(HeadError):
                grad_cam(image, np.zeros(1, np.int32))
                return grad_cam
    message = "no layer has a map on which the scores depend"
    raise HeadError(message)


def _is_map(tensor: Any) -> bool:
    return len(getattr(tensor, "shape", ())) == _MAP_RANK


def _places(tensor: Any) -> float:
    """Returns the number of places of a map; infinity where its sides are not known."""
    height, width = tensor.shape[1:3]
    return float("inf") if None in (height, width) else height * width
