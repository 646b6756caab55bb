"""Appending to a bank from a thread of its own, so that the network need not wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from featurebank.bank.writer import BankWriter
from featurebank.system.meter import Meter

_Rows = tuple[Sequence[str], np.ndarray, Mapping[str, np.ndarray], Mapping[str, str | None]]
_WAITING = 4
_LOOK_S = 0.05


class BackgroundWriter:
    """Appends rows to a bank's writer in order, with a few batches at most waiting.

    Leaving the block waits until all that was put is appended, also where the block was interrupted; a further
    interruption drops what waits, and the thread ends after the batch it is at. A failure of the writer is raised at
    the next `put`, or on leaving.

    Args:
        writer: to append to.
        meter: counts how long the thread is at work, as "write".
    """

    def __init__(self, writer: BankWriter, meter: Meter | None = None) -> None:
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
        while not self._ended.is_set():  # an interrupted `join` takes a living thread for ended (Python 3.11, 3.12)
            try:
                self._leaving.set()
                self._ended.wait()
            except BaseException as again:  # noqa: BLE001 - nobody may use the writer while the thread does
                interruption = interruption or again
                self._dropping.set()
        failure = interruption or self._failure
        if failure and error is None:
            raise failure

    def put(
        self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray], dtypes: Mapping[str, str | None]
    ) -> None:
        """Hands over rows; see `BankWriter.append`."""
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
                continue  # keep taking, so that nobody waits for room in the queue
            try:
                with self._meter.working("write"):
                    self._writer.append(*rows)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for us
                self._failure = error
        self._ended.set()
