"""Passes over stored vectors: a function is applied to every block, in threads, and the results come in order.

A pass over ten million rows takes seconds to minutes. So it shows how far it is, and ends between two blocks if the
user or a time budget asks for that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.streamed.progress import PassProgress
from featurebank.heads.streamed.vectors import StoredVectors, VectorBlock
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import all_threads, ram_limit
from featurebank.training.loop import part_ended

_Result = TypeVar("_Result")
_BLOCK_BYTES = 16 << 20


class StoppedError(HeadError):
    """A pass was ended before its last block, because nobody waits for its result any more."""


class Passes:
    """Runs passes over the same vectors, one at a time, so that they do not compete for disk and cores.

    Args:
        vectors: the vectors.
        on_block: called in the thread of a pass after each block; may raise `StoppedError`.
    """

    def __init__(self, vectors: StoredVectors, on_block: Callable[[], None] = part_ended) -> None:
        self.vectors, self.on_block = vectors, on_block
        self._lock = threading.Lock()

    def rows(self, width: int = 0) -> int:
        """Returns the number of rows of a block, if the work needs `width` numbers beside the features of each row."""
        row_bytes = max(self.vectors.row_bytes, 4 * width, 4)
        return max(1, min(_BLOCK_BYTES, ram_limit() // (32 * all_threads())) // row_bytes)

    def run(
        self, work: Callable[[VectorBlock], _Result], add: Callable[[_Result], None], *, what: str, width: int = 0
    ) -> None:
        """Applies a function to all blocks of the clean view, and adds up its results in the order of the blocks.

        Args:
            work: called in threads with one block at a time.
            add: called with each result in the calling thread; the order does not depend on the number of threads.
            what: the work, as "summing up".
            width: see `rows`.

        Raises:
            StoppedError: the work is not needed any more.
            HeadInputError: a feature is not finite.
            BankDamagedError: a shard is missing or damaged.
        """
        self.run_rows(lambda rows: work(self.vectors.block(rows)), add, what=what, width=width)

    def run_rows(
        self, work: Callable[[np.ndarray], _Result], add: Callable[[_Result], None], *, what: str, width: int = 0
    ) -> None:
        """Does the same as `run` with a function that gets the rows of a block, (b,) int64, and reads them itself."""
        rows, count, on_block = self.rows(width), all_threads(), self.on_block
        with self._lock:
            shown = PassProgress(what, len(self.vectors))
            groups = self.vectors.groups(block_bytes=rows * max(1, self.vectors.row_bytes))
            read = ordered_map(work, groups, name="pass", count=count)
            with contextlib.closing(read):
                for result in read:
                    add(result)
                    shown.advance(rows)
                    on_block()
            shown.end()
