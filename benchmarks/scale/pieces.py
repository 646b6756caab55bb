"""How an extraction is cut into pieces, for the simulation."""

from __future__ import annotations

import numpy as np

from featurebank.extraction.pieces.slices import slice_size


def piece_sizes(images: int, row_bytes: int) -> np.ndarray:
    """Returns the number of images of each piece, (n,) int64, as the extraction cuts them."""
    size = slice_size(images, views=0, image_bytes=row_bytes)
    sizes = np.full(-(-images // size), size, dtype=np.int64)
    sizes[-1] = images - size * (len(sizes) - 1)
    return sizes
