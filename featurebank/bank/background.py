"""Appends to a bank in a separate thread, so that the network need not wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from featurebank.system.meter import Meter

_Rows = tuple[Sequence[str], np.ndarray, Mapping[str, np.ndarray], Mapping[str, str | None]]
_WAITING = 4
_LOOK_S = 0.05


class RowWriter(Protocol):
    """Takes the rows of one bank."""

    def append(
        self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray], dtypes: Mapping[str, str | None]
    ) -> None:
        """Adds rows; see `BankWriter.append`."""


class BackgroundWriter:
    """Appends rows to a writer, in order and in a thread; only a few batches may wait in its queue.

    Leaving the block waits until all queued rows are appended, also if the block was interrupted. A second interruption
    drops the queued rows, and the thread ends after its current batch. An exception of the writer is raised at the next
    `put`, or on leaving.

    Args:
        writer: the writer to append to.
        meter: measures how long the thread works, as "write".
    """

    def __init__(self, writer: RowWriter, meter: Meter | None = None) -> None:
        self._writer, self._meter = writer, meter or Meter()
        self._queue: queue.Queue[_Rows] = queue.Queue(_WAITING)
        self._leaving, self._dropping, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._append_all, name="featurebank-writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interruption: BaseException | None = None
        while not self._ended.is_set():  # after an interrupt, `join` takes a running thread for ended (3.11, 3.12)
            try:
                self._leaving.set()
                self._ended.wait()
            except BaseException as again:  # noqa: BLE001 - the writer must not be used while the thread uses it
                interruption = interruption or again
                self._dropping.set()
        failure = interruption or self._failure
        if failure and error is None:
            raise failure

    def put(
        self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray], dtypes: Mapping[str, str | None]
    ) -> None:
        """Queues rows; see `BankWriter.append`."""
        if self._failure:
            raise self._failure
        self._queue.put((ids, keys, taps, dtypes))

    def _append_all(self) -> None:
        while not (self._leaving.is_set() and self._queue.empty()):
            try:
                rows = self._queue.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if self._failure or self._dropping.is_set():
                continue  # keep emptying the queue, so that no `put` blocks
            try:
                with self._meter.working("write"):
                    self._writer.append(*rows)
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                self._failure = error
        self._ended.set()
