"""Views: augmented images."""

from __future__ import annotations

import numpy as np

from featurebank.augment.parameters import FRACTION, ONE, draw, noise
from featurebank.augment.specification import Augmentation
from featurebank.augment.warp import warp
from featurebank.errors import ConfigError


def augment(images: np.ndarray, augmentation: Augmentation, digests: np.ndarray, view: int) -> np.ndarray:
    """Makes one view of each image: one affine map (bilinear, mirrored border), then contrast, then noise.

    Args:
        images: (n, h, w, 3) uint8.
        augmentation: the strengths.
        digests: (n,) digests of the images' contents, dtype "S32".
        view: the number of the view, 1 or more.

    Returns:
        (n, h, w, 3) uint8. The view of an image does not depend on the other images.

    Raises:
        ConfigError: `view` is below 1 (view 0 is the clean image).

    Example:
        >>> images = np.zeros((2, 32, 32, 3), np.uint8)
        >>> digests = np.array([b"first", b"second"], "S32")
        >>> augment(images, Augmentation.parse("flip,rotate=10"), digests, view=1).shape
        (2, 32, 32, 3)
    """
    if view < 1:
        message = f"view {view} cannot be augmented: expected 1 or more (view 0 is the clean image)"
        raise ConfigError(message)
    views = np.empty_like(images)
    for image, digest, out in zip(images, digests.tolist(), views, strict=True):
        parameters = draw(augmentation, digest, view)
        flipped = image[:: -1 if parameters.vertical else 1, :: -1 if parameters.horizontal else 1]
        out[...] = warp(flipped, parameters) if _moves(augmentation) else flipped
        if augmentation.contrast or augmentation.noise:
            _retouch(out, parameters.contrast, noise(augmentation.noise, digest, view, out.shape))
    return views


def _moves(augmentation: Augmentation) -> bool:
    return bool(augmentation.rotate or augmentation.zoom or augmentation.shear or augmentation.shift)


def _retouch(image: np.ndarray, contrast: float, offsets: np.ndarray | None) -> None:
    """Changes the contrast and adds the noise in place; rounds once, at the end."""
    factor = round(contrast * ONE)
    pixels = image.shape[0] * image.shape[1]
    for lane in range(3):
        plane = image[:, :, lane]
        mean = ((int(plane.sum(dtype=np.int64)) << FRACTION) + pixels // 2) // pixels
        values = plane.astype(np.int32)
        values *= factor
        values += (mean * (ONE - factor) >> FRACTION) + ONE // 2
        if offsets is not None:
            values += offsets[lane]
        values >>= FRACTION
        plane[...] = values.clip(0, 255, out=values)
