"""Small networks for small images that are trained from scratch, to be compared with transfer learning.

`basenet` is the convolutions of LeNet-5, with ReLU and maxima; `basenet_plus` adds normalisation, dropout and depth;
`basenet_deep` has a block more, for a head on the average of its last map. They come without trained weights:
`random:SEED` is their beginning, and unfreezing all of them their training.

The network, as of every backbone, ends in the last map. Their dense layers depend on the classes, so they belong to the
head: `mlp` with `hidden_units=50` on `map` is what they were published with. `classifier` has these layers for the 25
classes of that study, to look at.

References:
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings
    of the IEEE 86 (11), 1998 (LeNet-5).
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
    arXiv:1409.1556 (pairs of 3x3 convolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from featurebank.backbone.preprocess import TORCH
from featurebank.backbone.spec import BackboneSpec
from featurebank.errors import ConfigError

_UNITS = 50
_CLASSES = 25
_DROPOUT = 0.25


@dataclass(frozen=True)
class _Untrained(BackboneSpec):
    """A network without trained weights."""

    default_weights: ClassVar[None] = None

    @property
    def weights_place(self) -> str:
        """Where the weights come from, for people."""
        return "none: random:SEED"

    def weights_file(self, *, top: bool = False) -> None:
        """There is none."""

    def own_file(self, *, top: bool) -> Path:
        """Raises ConfigError: there is none."""
        message = f"{self.name} has no trained weights: use --weights random:0, or a file"
        raise ConfigError(message)


class BaseNet(_Untrained):
    """5x5 convolutions of 6 and 16 channels, each followed by a maximum over 2x2; the dense layers are 50 and 25."""

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is (n, 5, 5, 16) for 32 pixels."""
        import keras

        x = prepared
        for block, filters in enumerate((6, 16), start=1):
            x = keras.layers.Conv2D(filters, 5, name=f"conv{block}")(x)
            x = keras.layers.ReLU(name=f"conv{block}_relu")(x)
            x = keras.layers.MaxPooling2D(2, name=f"pool{block}")(x)
        if not top:
            return x
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(_UNITS, activation="relu", name="dense")(x)
        return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)


class BaseNetPlus(_Untrained):
    """Five 3x3 convolutions of 32, 32, 64, 64 and 128 channels with batch normalisation, in three blocks.

    The first two blocks end in a maximum over 2x2, all in a dropout of a quarter (which the study does not state).
    """

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is (n, 6, 6, 128) for 32 pixels."""
        import keras

        x = _blocks(prepared, (32, 64, 128))
        if not top:
            return x
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(_UNITS, name="dense")(x)
        x = keras.layers.BatchNormalization(name="dense_bn")(x)
        x = keras.layers.ReLU(name="dense_relu")(x)
        return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)


class BaseNetDeep(_Untrained):
    """`basenet_plus` with 256 channels after its 128: pairs of convolutions in three blocks, one in the fourth.

    The study tells of a deeper network with a global average in place of `flatten`, not of its widths.
    """

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is (n, 2, 2, 256) for 32 pixels."""
        import keras

        x = _blocks(prepared, (32, 64, 128, 256))
        if not top:
            return x
        x = keras.layers.GlobalAveragePooling2D(name="average")(x)
        return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)


def _blocks(x: Any, widths: Sequence[int]) -> Any:
    """Adds blocks of two convolutions, a maximum and dropout; the last is one convolution and dropout."""
    import keras

    for block, filters in enumerate(widths, start=1):
        x = _conv(x, filters, f"block{block}_conv1", padding="same")
        if block < len(widths):
            x = _conv(x, filters, f"block{block}_conv2", padding="valid")
            x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        x = keras.layers.Dropout(_DROPOUT, name=f"block{block}_out")(x)
    return x


def _conv(x: Any, filters: int, name: str, *, padding: str) -> Any:
    import keras

    x = keras.layers.Conv2D(filters, 3, padding=padding, name=name)(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


NETWORKS = (
    BaseNet("basenet", 32, 16, 16, 2_872, TORCH),
    BaseNetPlus("basenet_plus", 32, 10, 128, 140_704, TORCH),
    BaseNetDeep("basenet_deep", 32, 22, 256, 584_992, TORCH),
)
