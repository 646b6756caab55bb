"""Vectors that stay in the bank, and the blocks in which heads read them.

Reading runs in a thread of its own, two blocks ahead. Rows lie on the disk in the order of the digests of the images'
contents, which is random with respect to the classes, so that blocks in the order of the disk are mixed already.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from featurebank.bank.vectors import shard_groups
from featurebank.heads.streamed.features import StoredFeatures
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import ram_limit

_BLOCK_BYTES = 16 << 20
"""Default size of a block in order: some of them wait, and fit into a processor's cache in part."""
_SHUFFLED_BYTES = 256 << 20
"""Default size of a block in random order: the larger it is, the better its rows are mixed."""


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

    def blocks(
        self, seed: int | None = None, epoch: int = 0, *, block_bytes: int | None = None
    ) -> Iterator[VectorBlock]:
        """Yields the vectors in blocks, read ahead by a thread.

        Without a seed, the blocks hold the clean view in the order of the images. With one, they hold each image once
        in every view: shards are drawn at random, and the rows of a few shards are shuffled together. The same seed,
        epoch and sizes give the same order.

        Args:
            seed: determines the random order; None keeps the order of the images.
            epoch: its number, which determines the random order, too.
            block_bytes: the maximum size of a block in memory. The default is 16 MiB in order and 256 MiB in random
                order, or a sixteenth of `--ram`, whichever is less.

        Raises:
            HeadInputError: a feature is not finite.
            BankDamagedError: a shard is missing or damaged.
        """
        groups = self.groups(seed, epoch, block_bytes=block_bytes)
        read = ordered_map(self.batch, groups, name="vectors", count=1)
        for rows, X in zip(groups, read, strict=True):
            yield VectorBlock(X, rows)

    def groups(self, seed: int | None = None, epoch: int = 0, *, block_bytes: int | None = None) -> list[np.ndarray]:
        """Returns the rows of each block of `blocks`, with the same arguments."""
        default = min(_BLOCK_BYTES if seed is None else _SHUFFLED_BYTES, ram_limit() // 16)
        most = max(1, (block_bytes or default) // max(1, self.row_bytes))
        if seed is None:
            return [np.arange(start, min(start + most, len(self))) for start in range(0, len(self), most)]
        return self._shuffled(most, np.random.default_rng([seed, epoch]))

    def _shuffled(self, most: int, generator: np.random.Generator) -> list[np.ndarray]:
        """Returns groups of at most `most` rows: those of some shards of any view, shuffled."""
        shards = [
            group[start : start + most] + view * len(self)
            for view in range(self.views)
            for group in shard_groups(self._bank, self._tap, view, self._positions, generator)
            for start in range(0, len(group), most)
        ]
        groups: list[list[np.ndarray]] = []
        size = most
        for number in generator.permutation(len(shards)).tolist():
            if size + len(shards[number]) > most:
                groups.append([])
                size = 0
            groups[-1].append(shards[number])
            size += len(shards[number])
        return [generator.permutation(np.concatenate(group)) for group in groups]
