"""SqueezeNet: the accuracy of AlexNet with a fiftieth of its weights.

Each Fire module squeezes its input to few channels by a 1x1 convolution, and expands them by parallel 1x1 and 3x3
convolutions. The order of layers and the sizes of maps follow torchvision, whose ImageNet weights are the common ones.

References:
    F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer, "SqueezeNet: AlexNet-level accuracy with
    50x fewer parameters and <0.5MB model size", 2016, arXiv:1602.07360.
    Version 1.1 is by the same authors (2016): a smaller first convolution and earlier pooling, 2.4 times less work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_networks.spec import PortedSpec
from featurebank.backbone.preprocess import TORCH
from featurebank.backbone.weights.download import find_published, is_published
from featurebank.backbone.weights.files import CONV, Part

SITE = "https://download.pytorch.org/models/"
"""The site of torchvision's weights."""

# Channels of the squeeze, and of each of the two expansions.
_FIRES = {
    "fire2": (16, 64), "fire3": (16, 64), "fire4": (32, 128), "fire5": (32, 128),
    "fire6": (48, 192), "fire7": (48, 192), "fire8": (64, 256), "fire9": (64, 256),
}  # fmt: skip
_CLASSES = 1000
_DROPOUT = 0.5
_POOL = 3


@dataclass(frozen=True)
class SqueezeNet(PortedSpec):
    """A version of SqueezeNet; the output of each Fire module is called `fire2` to `fire9`.

    Args:
        filters: channels of the first convolution.
        kernel: its kernel size.
        pooled: the numbers of the layers that are followed by max pooling: 1 for `conv1`, 4 for `fire4`.
        file: name of torchvision's weights.
    """

    filters: int
    kernel: int
    pooled: tuple[int, int, int]
    file: str

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is that of `fire9`, (n, 13, 13, 512) for 224 pixels."""
        import keras

        x = _conv(prepared, self.filters, self.kernel, "conv1", strides=2)
        x = _pool(x, "pool1")
        for name, (squeeze, expand) in _FIRES.items():
            x = _fire(x, name, squeeze, expand)
            if int(name[-1]) in self.pooled:
                x = _pool(x, f"pool{name[-1]}")
        if not top:
            return x
        x = keras.layers.Dropout(_DROPOUT, name="drop9")(x)
        x = _conv(x, _CLASSES, 1, "conv10")
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        return keras.layers.Softmax(name="predictions")(x)

    def weights_file(self, *, top: bool = False) -> str:
        """Returns torchvision's name of the ImageNet weights."""
        return self.file

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of torchvision's weights in the folders of Keras and PyTorch; downloads missing ones."""
        return find_published(self.file, SITE, self.name)

    @property
    def must_download(self) -> bool:
        """Whether torchvision's weights are in neither folder."""
        return not is_published(self.file)

    def correspondence(self, *, top: bool) -> Iterator[tuple[str, list[Part]]]:
        """Yields each Keras layer with the PyTorch tensors of its weights; torchvision numbers its modules."""

        def conv(tensor: str) -> list[Part]:
            return [(f"{tensor}.weight", CONV), (f"{tensor}.bias", None)]

        yield "conv1", conv("features.0")
        number = 3  # 1 is a ReLU, 2 the first pooling
        for name in _FIRES:
            for part in ("squeeze", "expand1x1", "expand3x3"):
                layer = "squeeze1x1" if part == "squeeze" else part
                yield f"{name}_{layer}", conv(f"features.{number}.{part}")
            number += 2 if int(name[-1]) in self.pooled else 1
        if top:
            yield "conv10", conv("classifier.1")


def _fire(x: Any, name: str, squeeze: int, expand: int) -> Any:
    import keras

    squeezed = _conv(x, squeeze, 1, f"{name}_squeeze1x1")
    one = _conv(squeezed, expand, 1, f"{name}_expand1x1")
    three = _conv(squeezed, expand, 3, f"{name}_expand3x3", padding="same")
    return keras.layers.Concatenate(name=name)([one, three])


def _conv(x: Any, filters: int, kernel: int, name: str, *, strides: int = 1, padding: str = "valid") -> Any:
    import keras

    x = keras.layers.Conv2D(filters, kernel, strides=strides, padding=padding, name=name)(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _pool(x: Any, name: str) -> Any:
    """Adds 3x3 max pooling of stride 2 whose last window may extend beyond the edge, like PyTorch's `ceil_mode`.

    An odd side needs no padding; an even one lacks a pixel at the right and the bottom, which "same" adds.
    """
    import keras

    height, width = x.shape[1:3]
    assert height == width, "the input is a square, so every map is"
    return keras.layers.MaxPooling2D(_POOL, strides=2, padding="valid" if height % 2 else "same", name=name)(x)


NETWORKS = (
    SqueezeNet("squeezenet1_0", 224, 21, 512, 735_424, TORCH, 96, 7, (1, 4, 8), "squeezenet1_0-b66bff10.pth"),
    SqueezeNet("squeezenet1_1", 224, 17, 512, 722_496, TORCH, 64, 3, (1, 3, 5), "squeezenet1_1-b8a52dc0.pth"),
)
