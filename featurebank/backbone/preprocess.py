"""What happens to an image before the first convolution: the resize on the host, the arithmetic inside the network.

The arithmetic is part of the network's graph, made of Keras's own layers, so that a saved model can never be fed
wrongly: it takes RGB from 0 to 255. The identifiers below go into the digest of every backbone; a change of a rule
needs a new one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from featurebank.errors import DatasetError

RESIZE = "crop:0.875:bicubic:antialias:v1"
"""The central square, 7/8 of the shorter side, bicubic with Pillow's antialiasing; an image of the right size stays.

Measured with EfficientNet-Lite0 on 200 ImageNet sample images, top-1: this rule .900, the whole image stretched .815
(bilinear) and .830 (bicubic), the whole central square .860. On 500 flower photos, logistic regression on `pooled`,
5-fold: this rule .8955, stretched .885.
"""

INSIDE = "inside:v1"
"""The network rescales by itself."""

CAFFE = "caffe:v1"
"""BGR, minus the mean of ImageNet."""

TF = "tf:v1"
"""From -1 to 1."""

TORCH = "torch:v1"
"""From 0 to 1, minus the mean of ImageNet, divided by its standard deviation."""

LITE = "lite:v1"
"""(x - 127) / 128."""

UNIT = "unit:v1"
"""From 0 to 1."""

DECLARED = {"caffe": CAFFE, "tf": TF, "torch": TORCH, "0..1": UNIT, "none": INSIDE}
"""What users say of the input of a network of their own."""

_CHANNELS = 3
_CROP = 0.875
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Brings an image to the square that a network takes.

    Args:
        image: (height, width, 3) uint8, RGB.
        size: the side of the square in pixels.

    Returns:
        (size, size, 3) uint8; the image itself if it has this size already.

    Raises:
        DatasetError: the array is not an RGB image of bytes.
    """
    if image.dtype != np.uint8 or image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or 0 in image.shape:
        message = (
            f"an image of shape {image.shape} and type {image.dtype}: expected (height, width, 3) uint8; "
            "convert it to RGB bytes first"
        )
        raise DatasetError(message)
    if image.shape[:2] == (size, size):
        return image
    height, width = image.shape[:2]
    side = _CROP * min(height, width)
    left, upper = (width - side) / 2, (height - side) / 2
    box = (left, upper, left + side, upper + side)
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))


def prepare(images: Any, rule: str) -> Any:
    """Adds a network's own preprocessing to its graph.

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
        scale, offset = 1.0, [-mean for mean in _CAFFE_MEAN_BGR]
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
