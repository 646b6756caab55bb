"""Rows in the dtype of the disk that are waiting to become a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from featurebank.errors import FeatureRangeError

_FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass
class WaitingRows:
    """Rows of one view and one set of taps that are waiting to become a shard."""

    keys: list[np.ndarray] = field(default_factory=list)
    blocks: dict[str, list[np.ndarray]] = field(default_factory=dict)
    count: int = 0
    bytes: int = 0

    def add(self, keys: np.ndarray, taps: Mapping[str, np.ndarray]) -> None:
        """Adds rows."""
        self.keys.append(keys)
        self.count += len(keys)
        for tap, block in taps.items():
            self.blocks.setdefault(tap, []).append(block)
            self.bytes += block.nbytes


def default_dtype(shape: Sequence[int]) -> str:
    """Returns the default dtype of a tap on disk, by the shape of one row.

    It is float32 for vectors, and float16 for maps, which are large and consist of activations of moderate size.

    Example:
        >>> default_dtype((1280,)), default_dtype((7, 7, 1280))
        ('float32', 'float16')
    """
    return "float32" if len(shape) == 1 else "float16"


def as_stored(tap: str, block: np.ndarray, dtype: str | None, ids: Sequence[str]) -> np.ndarray:
    """Converts features to the dtype on disk.

    Args:
        tap: the tap, for messages.
        block: (n, ...) float32.
        dtype: the dtype on disk; None means `default_dtype`.
        ids: n names of the images, for messages.

    Raises:
        FeatureRangeError: a feature is NaN, infinite or out of float16's range.
    """
    dtype = dtype or default_dtype(block.shape[1:])
    flat = block.reshape(len(block), -1)
    finite = np.isfinite(flat).all(axis=1)
    if not finite.all():
        message = (
            f"tap '{tap}' is NaN or infinite for image '{ids[int(np.argmin(finite))]}': the network (or its weights) "
            "is broken, and no head can use these features; try other --weights"
        )
        raise FeatureRangeError(message)
    if dtype == "float16" and np.abs(flat).max(initial=0) > _FLOAT16_MAX:
        message = (
            f"tap '{tap}' reaches {np.abs(flat).max():.4g}, but float16 ends at {_FLOAT16_MAX:.0f}: use --store float32"
        )
        raise FeatureRangeError(message)
    return block.astype(dtype)
