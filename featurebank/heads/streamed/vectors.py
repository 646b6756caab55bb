"""Vectors that stay in the bank, and the blocks in which heads read them.

Reading runs in a thread of its own, two blocks ahead. Rows lie on the disk in the order of the digests of the images'
contents, which is random with respect to the classes, so that blocks in the order of the disk are mixed already.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from featurebank.bank.vectors import by_shard
from featurebank.heads.streamed.features import StoredFeatures
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import ram_limit

_BLOCK_BYTES = 16 << 20
"""Default size of a block in order: some of them wait, and fit into a processor's cache in part."""
_SHUFFLED_BYTES = 64 << 20
"""Default size of a block in random order: the larger it is, the better its rows are mixed."""
_IN_FLIGHT = 4
"""Blocks that are in memory at the same time: two wait, one is in use, and there is a copy of it."""


class VectorBlock(NamedTuple):
    """The features of some images."""

    X: np.ndarray
    """(b, d) float32, finite."""
    rows: np.ndarray
    """(b,) int64, positions in the `StoredVectors`; in view v, n * v is added to them."""


class StoredVectors(StoredFeatures):
    """Vectors of images that stay in the bank until they are used; see `StoredFeatures`.

    Example:
        >>> vectors = StoredVectors(bank, "pooled", np.flatnonzero(bank.splits() == "train"))
        >>> vectors.shape, sum(len(block.rows) for block in vectors.blocks(seed=0))
        ((60, 8), 60)
    """

    @property
    def rows_at_a_time(self) -> int:
        """About how many rows are in memory while blocks are read."""
        return min(len(self), _IN_FLIGHT * min(_SHUFFLED_BYTES, ram_limit() // 16) // max(1, self.row_bytes))

    def blocks(
        self, seed: int | None = None, epoch: int = 0, *, block_bytes: int | None = None
    ) -> Iterator[VectorBlock]:
        """Yields the vectors in blocks of one size, except the last one; they are read ahead by a thread.

        Without a seed, the blocks hold the clean view in the order of the images. With one, they hold each image in one
        of its views: the shards of the clean view are drawn in random order, and the rows of a block are shuffled. The
        same seed, epoch and size give the same order.

        Args:
            seed: determines the random order; None keeps the order of the images.
            epoch: its number, which determines the random order, too.
            block_bytes: the maximum size of a block in memory. The default is 16 MiB in order and 64 MiB in random
                order, or a sixteenth of `--ram`, whichever is less.

        Raises:
            HeadInputError: a feature is not finite.
            BankDamagedError: a shard is missing or damaged.
        """
        return ordered_map(self.block, self.groups(seed, epoch, block_bytes=block_bytes), name="vectors", count=1)

    def block(self, rows: np.ndarray) -> VectorBlock:
        """Reads the block of some rows, (b,) int64; raises what `blocks` raises."""
        return VectorBlock(self.batch(rows), rows)

    def groups(
        self, seed: int | None = None, epoch: int = 0, *, block_bytes: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yields the rows of each block of `blocks`, with the same arguments."""
        default = min(_BLOCK_BYTES if seed is None else _SHUFFLED_BYTES, ram_limit() // 16)
        most = max(1, (block_bytes or default) // max(1, self.row_bytes))
        if seed is not None:
            return self._shuffled(most, np.random.default_rng([seed, epoch]))
        return (np.arange(start, min(start + most, len(self))) for start in range(0, len(self), most))

    def _shuffled(self, most: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Yields the rows of blocks in random order; a shard at the edge of two blocks is divided between them."""
        waiting, count = [], 0
        for number in generator.permutation(len(self._shards)).tolist():
            waiting.append(self._shards[number])
            count += len(waiting[-1])
            while count >= most:
                rows = np.concatenate(waiting)
                yield self._mixed(rows[:most], generator)
                waiting, count = [rows[most:]], count - most
        if count:
            yield self._mixed(np.concatenate(waiting), generator)

    def _mixed(self, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns rows in random order, each in a view drawn at random."""
        mixed = generator.permutation(rows).astype(np.int64)
        if self.views > 1:
            mixed += len(self) * generator.integers(0, self.views, len(mixed))
        return mixed

    @cached_property
    def _shards(self) -> list[np.ndarray]:
        """The rows of each shard of the clean view, int32."""
        return by_shard(self._bank, self._tap, self._positions)
