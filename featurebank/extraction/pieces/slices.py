"""Cuts the images of a request into slices, the same on every machine and for any number of workers."""

from __future__ import annotations

import numpy as np

from featurebank.bank.writer import SHARD_BYTES, SHARD_ROWS

_SLICES = 64
"""About as many slices has a request of a usual size."""
_LEAST_IMAGES = 32


def slice_size(images: int, *, views: int, image_bytes: int) -> int:
    """Returns the number of images in a slice.

    Args:
        images: the number of distinct images of the request.
        views: the number of augmented views of each image, besides the clean one.
        image_bytes: the size of all rows of one image on disk, in bytes.

    Example:
        >>> slice_size(500, views=0, image_bytes=5120), slice_size(10**6, views=0, image_bytes=5120)
        (32, 4096)
        >>> slice_size(10**6, views=3, image_bytes=20_000), slice_size(10**6, views=0, image_bytes=1 << 20)
        (1024, 128)
    """
    most = min(SHARD_ROWS // (views + 1), SHARD_BYTES // max(1, image_bytes))
    return max(1, min(most, max(_LEAST_IMAGES, -(-images // _SLICES))))


def cut_slices(images: np.ndarray, size: int) -> list[np.ndarray]:
    """Cuts the digests of images, (n,) "S32" sorted and distinct, into slices of `size`; the last may be smaller."""
    return [images[start : start + size] for start in range(0, len(images), size)]
