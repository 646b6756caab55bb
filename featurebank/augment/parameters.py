"""The random parameters of a view: hashes of the image's content, the number of the view and the purpose."""

from __future__ import annotations

import functools
import hashlib
import statistics
from dataclasses import dataclass

import numpy as np

from featurebank.augment.specification import Augmentation

FRACTION = 16
"""Bits after the point of every coefficient."""

ONE = 1 << FRACTION


@dataclass(frozen=True)
class ViewParameters:
    """The random parameters of one view of one image.

    Args:
        horizontal: whether left and right are swapped.
        vertical: whether top and bottom are swapped.
        angle: degrees; a positive angle turns the image clockwise.
        zoom: factor; above 1, objects look larger.
        shear: how far a point moves to the right for each pixel that it lies lower, in pixels.
        right: shift to the right, as a fraction of the width.
        down: shift down, as a fraction of the height.
        contrast: factor about the mean.
    """

    horizontal: bool
    vertical: bool
    angle: float
    zoom: float
    shear: float
    right: float
    down: float
    contrast: float


def draw(augmentation: Augmentation, digest: bytes, view: int) -> ViewParameters:
    """Draws the parameters of one view of one image.

    The same arguments always give the same parameters.

    Args:
        augmentation: the strengths.
        digest: the digest of the image's content.
        view: the number of the view, 1 or more.

    Example:
        >>> parameters = draw(Augmentation.parse("flip,rotate=10"), b"digest of an image", view=1)
        >>> parameters.zoom, abs(parameters.angle) <= 10
        (1.0, True)
    """
    words = np.frombuffer(_hashed(digest, view, b"fb.augment.v1", 64), "<u8").tolist()
    # From -1 to 1 in steps of 2^-52, symmetric about 0 and exact.
    slot = [((word >> 11) * 2 + 1) * 2.0**-53 - 1 for word in words]
    return ViewParameters(
        horizontal=augmentation.flip in {"horizontal", "both"} and slot[0] < 0,
        vertical=augmentation.flip in {"vertical", "both"} and slot[1] < 0,
        angle=augmentation.rotate * slot[2],
        zoom=1 + augmentation.zoom * slot[3],
        shear=augmentation.shear * slot[4],
        right=augmentation.shift * slot[5],
        down=augmentation.shift * slot[6],
        contrast=1 + augmentation.contrast * slot[7],
    )


def noise(strength: float, digest: bytes, view: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns the noise of one view: (3, h, w) int32, in units of 2^-16 levels; None if the strength is 0."""
    if not strength:
        return None
    key = int.from_bytes(_hashed(digest, view, b"fb.noise.v1", 16), "little")
    height, width, channels = shape
    count = channels * height * width
    # The stream of a bit generator is the same in every version of numpy; the stream of a distribution is not.
    words = np.random.Philox(key=key).random_raw(-(-count // 4)).astype("<u8", copy=False)
    return _levels(strength).take(words.view("<u2")[:count]).reshape(channels, height, width)


@functools.lru_cache(maxsize=4)
def _levels(strength: float) -> np.ndarray:
    """Returns the noise for every 16-bit word: (65536,) int32, in units of 2^-16 levels."""
    scale = round(strength * 255 * ONE)
    return ((_quantiles() * scale + ONE // 2) >> FRACTION).astype(np.int32)


@functools.cache
def _quantiles() -> np.ndarray:
    """Returns the quantiles of the normal distribution at the centres of 65536 equal bins, in units of 2^-16."""
    normal = statistics.NormalDist()
    lower = np.array([round(normal.inv_cdf((step + 0.5) / 65536) * ONE) for step in range(32768)], np.int64)
    return np.concatenate([lower, -lower[::-1]])


def _hashed(digest: bytes, view: int, purpose: bytes, size: int) -> bytes:
    return hashlib.blake2b(b"%b %d" % (digest, view), digest_size=size, person=purpose).digest()
