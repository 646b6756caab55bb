"""The maps that heads are trained on: in memory, or read from the bank as they are needed, with the same answers.

A batch of 32 maps of 7 x 7 x 1280 is 4 MB in float16 and takes a conv head a fifth of a second and more, so any disk
keeps up with random rows of one contiguous array; what is read stays in the system's page cache as far as that
goes. Reading runs in a thread of its own, some batches ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import HeadInputError
from featurebank.heads.inputs import check_finite
from featurebank.heads.streamed.features import StoredFeatures
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import ram_limit

MAPS_ONLY = (4,)
"""The ranks of arrays of maps, (n, h, w, c)."""
MAPS_AND_TOKENS = (3, 4)
"""The ranks of arrays of maps and of tokens, (n, T, d)."""
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
_AHEAD_BYTES = 64 << 20
"""What is read at a time, in the order of the disk; two such blocks wait."""


class Maps(Protocol):
    """Maps (h, w, c) of images, or tokens (T, d), in one view or several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, c)."""

    @property
    def views(self) -> int:
        """How many views of each image there are."""

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Returns maps (b, h, w, c) float32; rows are image + view * n."""


@dataclass(frozen=True)
class MapsInMemory:
    """Maps as arrays, (n, h, w, c) each: the clean view first."""

    arrays: Sequence[np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, c)."""
        return self.arrays[0].shape

    @property
    def views(self) -> int:
        """How many views of each image there are."""
        return len(self.arrays)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Returns maps (b, h, w, c) float32; rows are image + view * n."""
        if self.views == 1:
            return np.asarray(self.arrays[0][rows], np.float32)
        images, views = rows % self.shape[0], rows // self.shape[0]
        return np.stack([self.arrays[view][image] for view, image in zip(views, images, strict=True)], dtype=np.float32)


class StoredMaps(StoredFeatures):
    """Maps that stay in the bank until they are used: `shape` is (n, h, w, c), see `StoredFeatures`."""


def stored_maps(bank: Bank, tap: str, positions: np.ndarray, *, views: int = 0) -> StoredMaps | None:
    """Returns maps or tokens as they lie in the bank where they take more than half of `--ram`, else None.

    Args:
        bank: has them.
        tap: of the heads.
        positions: (n,) which images, as places in `Bank.ids()`.
        views: how many further views are trained on.

    Raises:
        UnknownNameError: the bank has no such tap.
    """
    stored = StoredMaps(bank, tap, positions, 1 + views)
    # Half, because there are training and validation images, and what computes.
    return stored if stored.ndim in MAPS_AND_TOKENS and stored.needed_bytes > ram_limit() // 2 else None


def as_maps(X: Any, views: Sequence[np.ndarray] = (), *, ranks: Sequence[int] = MAPS_ONLY) -> Maps:
    """Returns maps as the networks take them.

    Args:
        X: (n, h, w, c) features, or maps in a bank.
        views: further views of them, where X is an array.
        ranks: `MAPS_ONLY`, or `MAPS_AND_TOKENS` for a network that takes tokens (n, T, d), too.

    Raises:
        HeadInputError: the features are no maps, or not finite.
    """
    if isinstance(X, StoredMaps):
        check_rank(X.shape, ranks)
        return X
    arrays = [np.asarray(view) for view in (X, *views)]
    for array in arrays:
        check_rank(array.shape, ranks if array.shape == arrays[0].shape else ())
        check_finite(array)
    return MapsInMemory(arrays)


def check_rank(shape: Sequence[int], ranks: Sequence[int]) -> None:
    """Raises HeadInputError unless features of a shape (n, ...) have one of the ranks."""
    if len(shape) not in ranks:
        message = (
            f"the features have the shape {tuple(shape)}, expected maps (images, height, width, channels): "
            "train this head on the tap 'map', or on a layer with maps (of a transformer, 'LAYER:map')"
        )
        raise HeadInputError(message)


@dataclass(frozen=True)
class StandardizedMaps:
    """Maps whose channels are brought to mean 0 and variance 1."""

    maps: Maps
    mean: np.ndarray
    """(c,)"""
    scale: np.ndarray
    """(c,)"""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, c)."""
        return self.maps.shape

    @property
    def views(self) -> int:
        """How many views of each image there are."""
        return self.maps.views

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Returns maps (b, h, w, c) float32; rows are image + view * n."""
        return np.asarray((self.maps.batch(rows) - self.mean) / self.scale)


def blocks(maps: Maps, rows: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the maps of one batch after another, read ahead by a thread.

    Args:
        maps: to read from.
        rows: of each batch.

    Raises:
        FeatureBankError: what reading raised.
    """
    row_bytes = 4 * int(np.prod(maps.shape[1:]))
    size = max(1, min(_AHEAD_BYTES, ram_limit() // 16) // max(1, row_bytes * max(map(len, rows), default=1)))
    # The first is one batch alone, so that the network waits for no more than that.
    groups = [rows[:1], *(rows[start : start + size] for start in range(1, len(rows), size))] if len(rows) else []
    read = ordered_map(lambda group: maps.batch(np.concatenate(group)), groups, name="maps", count=1)
    for group, block in zip(groups, read, strict=True):
        yield from np.split(block, np.cumsum([len(batch) for batch in group])[:-1])


def in_order(maps: Maps, size: int) -> list[np.ndarray]:
    """Returns the rows of the clean view in batches of `size`."""
    return [np.arange(start, min(start + size, maps.shape[0])) for start in range(0, maps.shape[0], size)]


def pooled(maps: Maps, *, view: int = 0) -> np.ndarray:
    """Returns the average over the places of each map: (n, c) float32."""
    rows = [batch + view * maps.shape[0] for batch in in_order(maps, 64)]
    averages = [block.mean((1, 2)) for block in blocks(maps, rows)]
    return np.concatenate(averages) if averages else np.empty((0, maps.shape[-1]), np.float32)


def channel_statistics(maps: Maps, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale of each channel over all places of the clean view: float32 (c,) each.

    Args:
        maps: the maps.
        weights: (n,) weights of the images; None for 1 each.
    """
    total, rows = np.zeros((2, maps.shape[-1])), in_order(maps, 64)
    for batch, block in zip(rows, blocks(maps, rows), strict=True):
        if weights is None:
            flat = block.reshape(-1, maps.shape[-1])
            total += flat.sum(0, np.float64), np.einsum("ij,ij->j", flat, flat, dtype=np.float64)
        else:
            places = block.reshape(len(block), -1, maps.shape[-1]).astype(np.float64)
            total += [np.einsum("i,ijc->c", weights[batch], values) for values in (places, places**2)]
    images = maps.shape[0] if weights is None else weights.sum(dtype=np.float64)
    mean, square = total / (images * maps.shape[1] * maps.shape[2])
    scale = np.sqrt(np.maximum(square - mean**2, 0))
    resolved = scale > np.sqrt(_ROUNDING) * np.abs(mean)  # a channel that does not vary stays as it is
    return mean.astype(np.float32), np.where(resolved, scale, 1.0).astype(np.float32)
