"""Image resizing as Keras operations: makes a model accept images of any size, without a custom layer.

It repeats Pillow's resize with antialiasing step by step: coefficients in float64, rounded to 2^-22, and two
passes in Pillow's order, each rounded to whole numbers. So its pixels equal those of the Pillow that is installed where
the model is created, for every rule of `backbone.resize`. Each pass is a matrix product with coefficients that are
computed from the size of the image. The size is determined by counting pixels, because Keras has no operation for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from featurebank.backbone.resize import AUTO, CROP, PAD, STRETCH, TALL_VERTICALLY_FIRST, WHOLE, Central, central_of

_A = -0.5
"""The parameter of the bicubic kernel."""
_FIXED = float(1 << 22)
_CROP = 0.875


class _Line(NamedTuple):
    """`backbone.resize.Placement` along one axis; each field is a number or a scalar tensor."""

    low: Any
    high: Any
    inner: Any
    corner: Any
    whole: Any = None
    """The length of the scaled image, of which the square is a part; None if it is `inner`."""

    @property
    def scaled(self) -> Any:
        """The length that decides which pass is the first, as in `backbone.resize`."""
        return self.inner if self.whole is None else self.whole


class _Kernel(NamedTuple):
    """An interpolation: the weight of a pixel by its distance, which is 0 from `support` on."""

    support: float
    weight: Callable[[Any], Any]


def with_resize(model: Any, rule: str) -> Any:
    """Returns a model that resizes images itself.

    Args:
        model: a Keras model, (n, s, s, 3) RGB 0..255 -> anything.
        rule: one of `featurebank.backbone.resize`.

    Returns:
        A Keras model with the same layers and output, (n, height, width, 3) uint8 RGB -> the same. All images of one
        batch have the same size.
    """
    import keras

    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    square = _resized(image, int(model.input.shape[1]), rule)
    return keras.Model(image, _applied(model, square), name=f"{model.name}_any_size")


def _applied(model: Any, tensor: Any) -> Any:
    from featurebank.backbone.keras_networks.unfold import unfold

    output, copies = unfold(model, tensor)
    for layer, copy in copies:
        if getattr(layer, "weights", None):
            copy.set_weights(layer.get_weights())
    return output


def _resized(image: Any, size: int, rule: str) -> Any:
    """Adds the resize to a graph: (n, height, width, 3) uint8 -> (n, size, size, 3) float32 whole numbers."""
    from keras import ops

    rows, columns = (_positions(image, axis) for axis in (1, 2))
    height, width = ops.max(rows) + 1.0, ops.max(columns) + 1.0
    vertical, horizontal = _line(rule, height, width, size), _line(rule, width, height, size)
    parts = central_of(rule)
    kernel = _KERNELS[parts.interpolation if parts else "bicubic"]
    down = _coefficients(rows, vertical, size, kernel)
    across = ops.transpose(_coefficients(columns, horizontal, size, kernel))
    planes = ops.transpose(ops.cast(image, "float64"), (0, 3, 1, 2))
    square = _to_bytes(ops.matmul(down, _to_bytes(ops.matmul(planes, across))))
    if TALL_VERTICALLY_FIRST:
        shrinks = height - vertical.scaled
        tall = ops.logical_and(ops.greater(shrinks, 0.0), ops.greater(shrinks, 2.0 * (width - horizontal.scaled)))
        other = _to_bytes(ops.matmul(_to_bytes(ops.matmul(down, planes)), across))
        square = ops.where(tall, other, square)
    return ops.cast(ops.reshape(ops.transpose(square, (0, 2, 3, 1)), (-1, size, size, 3)), "float32")


def _line(rule: str, length: Any, other: Any, size: int) -> _Line:
    """Returns the result of `backbone.resize.placement` along one axis.

    Args:
        rule: one of `backbone.resize`.
        length: the length of the image along this axis, in pixels.
        other: its length along the other axis.
        size: the side of the square.
    """
    from keras import ops

    short = ops.minimum(length, other)
    if rule == STRETCH:
        return _Line(0.0 * length, length, float(size), 0.0)
    if rule == PAD:
        inner = ops.maximum(ops.round(length * float(size) / ops.maximum(length, other)), 1.0)
        return _Line(0.0 * length, length, inner, ops.floor((size - inner) / 2.0))
    if rule == WHOLE:
        low = ops.floor((length - short) / 2.0)
        return _Line(low, low + short, float(size), 0.0)
    if rule == CROP:
        same = ops.logical_and(ops.equal(length, float(size)), ops.equal(other, float(size)))
        side = ops.where(same, short, _CROP * short)  # an image of the right size is not changed
        low = (length - side) / 2.0
        return _Line(low, low + side, float(size), 0.0)
    if parts := central_of(rule):
        return _central_line(parts, length, short, size)
    assert rule == AUTO, f"no such resize rule: {rule}"
    whole, crop = (_line(one, length, other, size) for one in (WHOLE, CROP))
    small = ops.less_equal(short, float(size))
    return _Line(ops.where(small, whole.low, crop.low), ops.where(small, whole.high, crop.high), float(size), 0.0)


def _central_line(parts: Central, length: Any, short: Any, size: int) -> _Line:
    from keras import ops

    side = float(max(parts.side, size))
    scaled = 0.0 * length + side if parts.form == "stretch" else ops.floor(side * length / short)
    corner = (ops.floor if parts.rounds_down else ops.round)((scaled - size) / 2.0)
    step = length / scaled
    return _Line(corner * step, ops.minimum((corner + size) * step, length), float(size), 0.0, scaled)


def _positions(image: Any, axis: int) -> Any:
    """Returns the indices 0, 1, 2, ... of the pixels along an axis, float64."""
    from keras import ops

    line = ops.take(image, 0, axis=3)
    line = ops.take(ops.take(line, 0, axis=3 - axis), 0, axis=0)
    return ops.cumsum(ops.cast(ops.ones_like(line), "float64")) - 1.0


def _coefficients(positions: Any, line: _Line, size: int, kernel: _Kernel) -> Any:
    """Returns the weight of each pixel of a line in each pixel of the result: (size, length) float64."""
    import numpy as np
    from keras import ops

    low, high = (ops.cast(edge, "float32") for edge in (line.low, line.high))  # as Pillow stores its box
    scale = ops.cast(high - low, "float64") / line.inner
    stretch = ops.maximum(scale, 1.0)
    places = ops.subtract(np.arange(size, dtype=np.float64)[:, None], line.corner)
    shown = ops.logical_and(ops.greater_equal(places, 0.0), ops.less(places, line.inner))
    centres = ops.cast(low, "float64") + scale * (places + 0.5)
    first = ops.floor(centres - kernel.support * stretch + 0.5)
    end = ops.floor(centres + kernel.support * stretch + 0.5)
    inside = ops.logical_and(ops.greater_equal(positions, first), ops.less(positions, end))
    weights = ops.where(inside, kernel.weight(ops.abs((positions - centres + 0.5) / stretch)), 0.0)
    weights = weights / ops.where(shown, ops.sum(weights, axis=1, keepdims=True), 1.0)  # never 0 / 0
    rounded = ops.sign(weights) * ops.floor(ops.abs(weights) * _FIXED + 0.5) / _FIXED
    return ops.where(shown, rounded, 0.0)


def _bicubic(x: Any) -> Any:
    from keras import ops

    near = ((_A + 2.0) * x - (_A + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * _A
    return ops.where(ops.less(x, 1.0), near, ops.where(ops.less(x, 2.0), far, 0.0))


def _bilinear(x: Any) -> Any:
    from keras import ops

    return ops.maximum(1.0 - x, 0.0)


def _lanczos(x: Any) -> Any:
    from keras import ops

    wave = ops.where(ops.equal(x, 0.0), 1.0, x) * math.pi  # never 0 / 0
    value = ops.sin(wave) / wave * (ops.sin(wave / 3.0) / (wave / 3.0))
    return ops.where(ops.equal(x, 0.0), 1.0, ops.where(ops.less(x, 3.0), value, 0.0))


_KERNELS = {"bilinear": _Kernel(1.0, _bilinear), "bicubic": _Kernel(2.0, _bicubic), "lanczos": _Kernel(3.0, _lanczos)}
"""The kernels by the interpolation; see `backbone.resize.INTERPOLATIONS`."""


def _to_bytes(values: Any) -> Any:
    from keras import ops

    return ops.clip(ops.floor(values + 0.5), 0.0, 255.0)
