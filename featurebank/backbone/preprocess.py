"""Preprocessing: the arithmetic on pixels before the first convolution of a network.

It is part of the network's graph, made of Keras's own layers, so that a saved model cannot be fed wrongly: every model
takes RGB from 0 to 255. The identifiers below go into the digest of every backbone; a change of a rule needs a new
identifier.
"""

from __future__ import annotations

from typing import Any

INSIDE = "inside:v1"
"""RGB from 0 to 255: the network contains its own preprocessing."""

CAFFE = "caffe:v1"
"""BGR from 0 to 255, minus the mean of ImageNet."""

MEAN = "mean:v1"
"""RGB from 0 to 255, minus the mean of ImageNet."""

TF = "tf:v1"
"""RGB from -1 to 1."""

TORCH = "torch:v1"
"""RGB from 0 to 1, minus the mean of ImageNet, divided by its standard deviation."""

LITE = "lite:v1"
"""RGB, (x - 127) / 128."""

UNIT = "unit:v1"
"""RGB from 0 to 1."""

DECLARED = {"caffe": CAFFE, "mean": MEAN, "tf": TF, "torch": TORCH, "0..1": UNIT, "none": INSIDE}
"""The rules by the words with which users declare the input of a custom network."""

_MEAN = (123.68, 116.779, 103.939)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)


def prepare(images: Any, rule: str) -> Any:
    """Adds a network's preprocessing to its graph.

    Args:
        images: a Keras tensor (n, height, width, 3) float32, RGB from 0 to 255.
        rule: one of the identifiers above.

    Returns:
        A Keras tensor of the same shape, as the first layer of the network expects it.
    """
    import keras

    if rule == INSIDE:
        return images
    scale: float | list[float]
    offset: float | list[float]
    if rule == CAFFE:
        images = keras.ops.flip(images, axis=-1)
        scale, offset = 1.0, [-mean for mean in reversed(_MEAN)]
    elif rule == MEAN:
        scale, offset = 1.0, [-mean for mean in _MEAN]
    elif rule == TF:
        scale, offset = 1 / 127.5, -1.0
    elif rule == TORCH:
        scale = [1 / (255 * deviation) for deviation in _TORCH_DEVIATION]
        offset = [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)]
    elif rule == UNIT:
        scale, offset = 1 / 255, 0.0
    elif rule == LITE:
        scale, offset = 1 / 128, -127 / 128
    else:
        message = f"no such preprocessing rule: {rule}"
        raise AssertionError(message)
    return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")(images)
