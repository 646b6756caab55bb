"""Vectors that stay in the bank as XGBoost takes them: in bins, in memory or in files of a temporary directory.

A feature takes two bytes in bins, half of what it takes as float32. If all bins together fit into half of `--ram`, they
are in memory, otherwise XGBoost reads them from the disk for each level of a tree. The bins are the same in any case,
because XGBoost's summary of a feature's values does not depend on the size of the blocks as long as these are in the
same order.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.locks.scratch import LEAST_FREE, Scratch, check_space
from featurebank.heads.streamed.vectors import StoredVectors, VectorBlock
from featurebank.system.runtime import ram_limit

_BLOCK_BYTES = 256 << 20


@dataclass(frozen=True)
class LabelledVectors:
    """Vectors that stay in the bank, with their labels, and what is done to them before they are binned."""

    vectors: StoredVectors
    labels: np.ndarray
    """(n,) int32 positions of classes."""
    weights: np.ndarray | None
    """(n,) of the images; None for 1 each."""
    width: int
    """The number of features after `transform`."""
    transform: Callable[[np.ndarray], np.ndarray]
    """Returns what XGBoost takes, (b, width) float32, of features (b, d) float32."""
    on_block: Callable[[], None]
    """Called after each block; an exception ends the work."""

    @property
    def binned_bytes(self) -> int:
        """About how many bytes all bins need."""
        return self.bytes_of(len(self.vectors))

    def bytes_of(self, count: int) -> int:
        """Returns about how many bytes the bins of some images need."""
        return count * (2 * self.width + 8)

    @property
    def fit_into_memory(self) -> bool:
        """Whether the bins are held in memory."""
        return self.binned_bytes <= ram_limit() // 2

    def blocks(self) -> Iterator[VectorBlock]:
        """Yields the blocks in the order of the images."""
        return self.vectors.blocks(block_bytes=min(_BLOCK_BYTES, ram_limit() // 8))


def quantile_matrix(rows: LabelledVectors, *, max_bin: int, threads: int, like: Any = None) -> Any:
    """Returns vectors in bins as `xgboost.QuantileDMatrix`, or as one in temporary files that it removes at the end.

    Args:
        rows: the vectors.
        max_bin: the largest number of bins of a feature.
        threads: the number of threads.
        like: the matrix whose bins are used; None for bins of their own.

    Raises:
        DiskFullError: there is no space for temporary files.
        HeadInputError, BankDamagedError: see `StoredVectors.blocks`.
    """
    import xgboost

    options = {"max_bin": max_bin, "nthread": threads, "ref": like}
    if rows.fit_into_memory:
        return xgboost.QuantileDMatrix(_iterator(rows), **options)
    scratch = Scratch(rows.vectors.bank_path, rows.binned_bytes)
    try:
        matrix = xgboost.ExtMemQuantileDMatrix(_iterator(rows, scratch.path), **options)
    except BaseException:
        scratch.close()
        raise
    weakref.finalize(matrix, scratch.close)
    return matrix


def _iterator(rows: LabelledVectors, scratch: Path | None = None) -> Any:
    """Returns the iterator by which XGBoost reads the blocks, several times.

    XGBoost ends the whole process if it cannot write a block's bins. So there has to be space before each block.
    """
    import xgboost

    class Blocks(xgboost.DataIter):
        def __init__(self) -> None:
            self._blocks: Any = None
            super().__init__(cache_prefix=None if scratch is None else str(scratch / "bins"))

        def reset(self) -> None:
            if self._blocks is not None:
                self._blocks.close()
            self._blocks = None

        def next(self, input_data: Callable[..., None]) -> bool:
            if self._blocks is None:
                self._blocks = rows.blocks()
            block = next(self._blocks, None)
            if block is None:
                return False
            if scratch is not None:
                check_space(scratch, rows.bytes_of(len(block.rows)) + LEAST_FREE)
            weights = {} if rows.weights is None else {"weight": rows.weights[block.rows]}
            input_data(data=rows.transform(block.X), label=rows.labels[block.rows], **weights)
            rows.on_block()
            return True

    return Blocks()
