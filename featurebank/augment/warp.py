"""One affine map of an image in integer arithmetic: bilinear interpolation, with a border that mirrors the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from featurebank.augment.parameters import FRACTION, ONE, ViewParameters

_WEIGHT = 5  # bits of a bilinear weight along one axis
_MASK = (1 << _WEIGHT) - 1
_HALVES = sum(1 << (2 * _WEIGHT - 1 + 21 * lane) for lane in range(3))
_STRIP = 1 << 15  # pixels processed at once: arrays of 256 KB fit a core's own cache, so threads rarely contend


def warp(image: np.ndarray, parameters: ViewParameters) -> np.ndarray:
    """Computes each pixel from four source pixels at the inverse of the map; weights are multiples of 1/32 an axis."""
    height, width = image.shape[:2]
    x, y = _sources(parameters, height, width)
    # The three channels lie in one 64-bit word, 21 bits each: one multiplication by a weight serves all three.
    red, green, blue = (np.left_shift(image[:, :, lane], 21 * lane, dtype=np.int64) for lane in range(3))
    words = (red | green | blue)[_reflected(y.reach, height)[:, np.newaxis], _reflected(x.reach, width)]
    pitch = words.shape[1]
    flat = words.reshape(-1)
    result = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP // width)
    for start in range(0, height, step):
        rows = slice(start, start + step)
        xs, ys = x.at(rows), y.at(rows)
        place = (ys >> _WEIGHT) * pitch + (xs >> _WEIGHT)
        xs &= _MASK
        ys &= _MASK
        upper = _between(flat.take(place), flat[1:].take(place), xs)
        lower = _between(flat[pitch:].take(place), flat[pitch + 1 :].take(place), xs)
        mixed = _between(upper, lower, ys)
        mixed += _HALVES
        for lane in range(3):
            result[rows, :, lane] = mixed >> (2 * _WEIGHT + 21 * lane)
    return result


@dataclass(frozen=True)
class _Axis:
    """One source coordinate, x or y, of every pixel of the result, in units of 2^-16 pixels.

    Args:
        columns: (w,) int64; the part that depends on the column.
        rows: (h,) int64; the part that depends on the row.
        reach: the whole coordinates that are read; the sum of the two parts is counted from the first of them.
        period: after how many pixels the mirrored image repeats; 0 where the coordinate needs no folding.
    """

    columns: np.ndarray
    rows: np.ndarray
    reach: np.ndarray
    period: int

    @classmethod
    def of(cls, columns: np.ndarray, rows: np.ndarray, size: int) -> _Axis:
        first = int(columns.min() + rows.min()) >> FRACTION
        last = (int(columns.max() + rows.max()) >> FRACTION) + 2  # one for rounding, one for the neighbour
        period = 0
        if last - first > 2 * size:  # the map shrinks the image: folding the coordinate bounds the array
            first, last, period = 0, 2 * size, 2 * size
        return cls(columns, rows - (first << FRACTION), np.arange(first, last + 1), period)

    def at(self, rows: slice) -> np.ndarray:
        """Returns the coordinate in units of 1/32 pixel for some rows of the result."""
        coordinate: np.ndarray = self.columns + (self.rows[rows, np.newaxis] + (1 << (FRACTION - _WEIGHT - 1)))
        coordinate >>= FRACTION - _WEIGHT
        if self.period:
            coordinate %= self.period << _WEIGHT
        return coordinate


def _sources(parameters: ViewParameters, height: int, width: int) -> tuple[_Axis, _Axis]:
    """Returns the source coordinates of each pixel: the inverse of shear, rotation, zoom (about its centre), shift."""
    angle = math.radians(parameters.angle)
    cosine, sine = math.cos(angle) / parameters.zoom, math.sin(angle) / parameters.zoom
    x_axis = (cosine + parameters.shear * sine, sine - parameters.shear * cosine, width)
    y_axis = (-sine, cosine, height)
    # Twice the distance from the centre is a whole number, also for sides of even length.
    columns, rows = (2 * np.arange(side, dtype=np.int64) - (side - 1) for side in (width, height))
    axes = []
    for by_column, by_row, size in (x_axis, y_axis):
        shift = by_column * parameters.right * width + by_row * parameters.down * height
        start = (size - 1) * (ONE // 2) - round(shift * ONE)
        axes.append(_Axis.of(columns * round(by_column * ONE) // 2 + start, rows * round(by_row * ONE) // 2, size))
    return axes[0], axes[1]


def _reflected(positions: np.ndarray, size: int) -> np.ndarray:
    """Mirrors positions beyond the border: d c b a | a b c d | d c b a."""
    inside = positions % (2 * size)
    folded: np.ndarray = np.minimum(inside, 2 * size - 1 - inside)
    return folded


def _between(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns 32 x first + weight x (second - first), in place of `second`; borrows between lanes cancel out."""
    second -= first
    second *= weight
    first <<= _WEIGHT
    second += first
    return second
