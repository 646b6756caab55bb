"""Preprocessing: the arithmetic on pixels before the first convolution of a network.

It is part of the network's graph, made of Keras's own layers, so that a saved model cannot be fed wrongly: every model
takes RGB from 0 to 255. The identifiers below, and those of `normalizing`, go into the digest of every backbone; a
change of a rule needs a new identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from featurebank.errors import ConfigError

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


_CHANNELS = 3
_LEAST_DEVIATION, _MOST = 1e-6, 1e6
"""Bounds of a normalisation; pixels are from 0 to 1."""
_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_NORMALIZING = re.compile(rf"normalize:({_NUMBER}(?:,{_NUMBER}){{2}}):({_NUMBER}(?:,{_NUMBER}){{2}}):v1")


@dataclass(frozen=True)
class Arithmetic:
    """What a rule does to a pixel: `pixel * scale + offset` for each channel.

    Args:
        is_bgr: whether the channels are reversed before, so that blue is the first.
        scale: three factors, in the order of the channels after that.
        offset: three numbers, in the same order.
    """

    is_bgr: bool
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]


def normalizing(mean: Sequence[float], deviation: Sequence[float]) -> str:
    """Returns the identifier of the rule "RGB from 0 to 1, minus a mean, divided by a deviation".

    Args:
        mean: three numbers, of red, green and blue.
        deviation: three positive numbers.

    Example:
        >>> normalizing((0.5, 0.5, 0.5), (0.5, 0.5, 0.25))
        'normalize:0.5,0.5,0.5:0.5,0.5,0.25:v1'
    """
    means, deviations = (",".join(f"{float(value):.10g}" for value in values) for values in (mean, deviation))
    rule = f"normalize:{means}:{deviations}:v1"
    _normalized(mean, deviation)
    return rule


def arithmetic(rule: str) -> Arithmetic:
    """Returns what a rule does to a pixel.

    Args:
        rule: one of the identifiers above, or of `normalizing`.

    Raises:
        ConfigError: this featurebank does not know the rule.
    """
    if match := _NORMALIZING.fullmatch(rule):
        mean, deviation = ([float(value) for value in part.split(",")] for part in match.groups())
        return _normalized(mean, deviation)
    if rule == INSIDE:
        return _uniform(1.0, 0.0)
    if rule == CAFFE:
        return Arithmetic(is_bgr=True, scale=(1.0, 1.0, 1.0), offset=_three(-mean for mean in reversed(_MEAN)))
    if rule == MEAN:
        return Arithmetic(is_bgr=False, scale=(1.0, 1.0, 1.0), offset=_three(-mean for mean in _MEAN))
    if rule == TORCH:
        return _normalized(_TORCH_MEAN, _TORCH_DEVIATION)
    uniform = {TF: (1 / 127.5, -1.0), UNIT: (1 / 255, 0.0), LITE: (1 / 128, -127 / 128)}
    if rule in uniform:
        return _uniform(*uniform[rule])
    message = f"images were prepared by the rule '{rule}', which this featurebank does not know: install a newer one"
    raise ConfigError(message)


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
    does = arithmetic(rule)
    if does.is_bgr:
        images = keras.ops.flip(images, axis=-1)
    scale, offset = (values[0] if len(set(values)) == 1 else list(values) for values in (does.scale, does.offset))
    return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")(images)


def _normalized(mean: Sequence[float], deviation: Sequence[float]) -> Arithmetic:
    """Returns the arithmetic of a normalisation, whose numbers may come from anybody's file.

    Raises:
        ConfigError: they make no numbers that a network can take.
    """
    if not (
        len(mean) == len(deviation) == _CHANNELS
        and all(_LEAST_DEVIATION <= one <= _MOST for one in deviation)
        and all(abs(one) <= _MOST for one in mean)
    ):
        message = (
            f"mean {list(mean)} and deviation {list(deviation)}: expected three numbers each, the latter positive and "
            f"at least {_LEAST_DEVIATION:g}"
        )
        raise ConfigError(message)
    scale = _three(1 / (255 * one) for one in deviation)
    offset = _three(-one / other for one, other in zip(mean, deviation, strict=True))
    return Arithmetic(is_bgr=False, scale=scale, offset=offset)


def _uniform(scale: float, offset: float) -> Arithmetic:
    return Arithmetic(is_bgr=False, scale=(scale,) * 3, offset=(offset,) * 3)


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third
