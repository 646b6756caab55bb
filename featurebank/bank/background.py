"""Appending to a bank from a thread of its own, so that the network need not wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from featurebank.bank.writer import BankWriter

_WAITING = 4


class BackgroundWriter:
    """Appends rows to a bank's writer in order, with a few batches at most waiting.

    Leaving the block waits until all that was put is appended, also where the block was interrupted. A failure of the
    writer is raised at the next `put`, or on leaving.
    """

    def __init__(self, writer: BankWriter, dtypes: Mapping[str, str | None]) -> None:
        self._writer, self._dtypes = writer, dtypes
        self._queue: queue.Queue[tuple[Sequence[str], np.ndarray, Mapping[str, np.ndarray]] | None] = queue.Queue(
            _WAITING
        )
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._append_all, name="featurebank-writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._failure and error is None:
            raise self._failure

    def put(self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray]) -> None:
        """Hands over rows; see `BankWriter.append`."""
        if self._failure:
            raise self._failure
        self._queue.put((ids, keys, taps))

    def _append_all(self) -> None:
        while (rows := self._queue.get()) is not None:
            if self._failure:
                continue  # keep taking, so that nobody waits for room in the queue
            try:
                self._writer.append(*rows, self._dtypes)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for us
                self._failure = error
