"""How an extraction is cut into pieces, for the simulation."""

from __future__ import annotations

import numpy as np

from featurebank.bank.writer import SHARD_BYTES, SHARD_ROWS


def piece_sizes(images: int, row_bytes: int) -> np.ndarray:
    """Returns the number of images of each piece, (n,) int64, as the extraction cuts them."""
    most = min(SHARD_ROWS, SHARD_BYTES // max(1, row_bytes))
    size = max(1, min(most, max(32, -(-images // 64))))
    sizes = np.full(-(-images // size), size, dtype=np.int64)
    sizes[-1] = images - size * (len(sizes) - 1)
    return sizes
