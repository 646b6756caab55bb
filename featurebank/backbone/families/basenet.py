"""Small networks for small images that are trained from scratch, for comparison with transfer learning.

`basenet` has the convolutions of LeNet-5, with ReLU and max pooling. `basenet_plus_plain` is deeper,
`basenet_plus_norm` adds batch normalisation, and `basenet_plus` dropout: the steps of one study. `basenet_deep` has one
more block, for a head on the average of its last map. They have no trained weights: `random:SEED` is their start, and a
fine-tune of all layers trains them.

Like every backbone, the network ends in the last map. The dense layers depend on the classes, so they belong to the
head: they were published as `mlp` with `hidden_units=50` on `map`. For inspection, `classifier` has these layers for
the 25 classes of that study.

References:
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings
    of the IEEE 86 (11), 1998 (LeNet-5).
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
    arXiv:1409.1556 (pairs of 3x3 convolutions).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.preprocess import TORCH
from featurebank.errors import ConfigError

_UNITS = 50
_CLASSES = 25
_DROPOUT = 0.25


@dataclass(frozen=True)
class Untrained(KerasSpec):
    """A network without trained weights."""

    default_weights: ClassVar[None] = None

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return "none: random:SEED"

    def weights_file(self, *, top: bool = False) -> None:
        """Returns None: there is no file."""

    def own_file(self, *, top: bool) -> Path:
        """Raises ConfigError: there is no file."""
        message = f"{self.name} has no trained weights: use --weights random:0, or a file"
        raise ConfigError(message)


class BaseNet(Untrained):
    """5x5 convolutions of 6 and 16 channels, each with 2x2 max pooling; the dense layers have 50 and 25 units."""

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


@dataclass(frozen=True)
class BaseNetPlus(Untrained):
    """Five 3x3 convolutions of 32, 32, 64, 64 and 128 channels in three blocks; the first two end in 2x2 max pooling.

    Args:
        batch_norm: whether to normalise after each convolution.
        dropout: the rate at the end of each block, which the study does not state; 0 for none.
    """

    batch_norm: bool = field(default=True, kw_only=True)
    dropout: float = field(default=_DROPOUT, kw_only=True)

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is (n, 6, 6, 128) for 32 pixels."""
        import keras

        x = self._block(prepared, 1, 32, pool=True)
        x = self._block(x, 2, 64, pool=True)
        x = self._block(x, 3, 128, pool=False)
        if not top:
            return x
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(_UNITS, name="dense")(x)
        if self.batch_norm:
            x = keras.layers.BatchNormalization(name="dense_bn")(x)
        x = keras.layers.ReLU(name="dense_relu")(x)
        return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)

    def _block(self, x: Any, number: int, filters: int, *, pool: bool) -> Any:
        """Adds two convolutions and max pooling, or one convolution; dropout follows."""
        import keras

        name = f"block{number}"
        x = self._conv(x, filters, f"{name}_conv1", padding="same")
        if pool:
            x = self._conv(x, filters, f"{name}_conv2", padding="valid")
            x = keras.layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name=f"{name}_out")(x)
        return x

    def _conv(self, x: Any, filters: int, name: str, *, padding: str) -> Any:
        import keras

        x = keras.layers.Conv2D(filters, 3, padding=padding, name=name)(x)
        if self.batch_norm:
            x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)


class BaseNetDeep(Untrained):
    """Four blocks of two 3x3 convolutions, batch normalisation, ReLU and dropout; the first three have 2x2 max pooling.

    The study states neither the widths (here 32, 64, 128 and 256 channels) nor the dropout rate. In it, three dense
    layers follow on the global average: the head `mlp` with two hidden layers on `pooled`.
    """

    @property
    def identity(self) -> str:
        """The second architecture of this name: the first had one convolution in its last block."""
        return f"{self.name}:v2"

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is (n, 4, 4, 256) for 32 pixels."""
        import keras

        x = prepared
        for block, filters in enumerate((32, 64, 128, 256), start=1):
            for number in (1, 2):
                x = keras.layers.Conv2D(filters, 3, padding="same", name=f"block{block}_conv{number}")(x)
            x = keras.layers.BatchNormalization(name=f"block{block}_bn")(x)
            x = keras.layers.ReLU(name=f"block{block}_relu")(x)
            if block < 4:  # noqa: PLR2004 - the last block keeps its map
                x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
            x = keras.layers.Dropout(_DROPOUT, name=f"block{block}_out")(x)
        if not top:
            return x
        x = keras.layers.GlobalAveragePooling2D(name="average")(x)
        for number in (1, 2):
            x = keras.layers.Dense(_UNITS, activation="relu", name=f"dense{number}")(x)
        return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)


NETWORKS = (
    BaseNet("basenet", 32, 16, 16, 2_872, TORCH),
    BaseNetPlus("basenet_plus", 32, 10, 128, 140_704, TORCH),
    BaseNetPlus("basenet_plus_plain", 32, 10, 128, 139_424, TORCH, batch_norm=False, dropout=0.0),
    BaseNetPlus("basenet_plus_norm", 32, 10, 128, 140_704, TORCH, dropout=0.0),
    BaseNetDeep("basenet_deep", 32, 8, 256, 1_174_176, TORCH),
)
