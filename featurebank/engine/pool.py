"""Runs batches on a pool of threads: splits each batch into requests, and joins their features."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Run: TypeAlias = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Computes one request, (n, size, size, 3) uint8 -> (n, ...) for each tap; its next call may overwrite the arrays."""
Answer: TypeAlias = dict[str, np.ndarray]
"""The features of a batch, (n, ...) float32 for each tap."""


def request_size(image_size: int, batch_size: int, *, most: int) -> int:
    """Returns the number of images per request: few if they are large, many if they are small.

    A batch is split into equal requests, because a partial request takes as long as a full one.

    Args:
        image_size: the side of the images in pixels.
        batch_size: the largest batch.
        most: number of images of 224 x 224 pixels per request; for other sizes, the number with as many pixels.

    Example:
        >>> request_size(224, 32, most=4), request_size(32, 32, most=4)
        (4, 32)
    """
    requests = -(-batch_size // max(1, round(most * 224**2 / image_size**2)))
    return -(-batch_size // requests)


class PooledEngine:
    """An engine that runs batches on several threads, one for each `Run`.

    The threads do not prevent the process from ending: then each finishes its current request, and waiting requests are
    cancelled. The same happens when the engine is garbage-collected.

    Args:
        runs: functions that compute a request; each is called by only one thread.
        request: the largest number of images per request.
        batch_size: the largest number of images per batch.
        image_size: the side of the images in pixels.
    """

    def __init__(self, runs: Sequence[Run], *, request: int, batch_size: int, image_size: int) -> None:
        self._request = request
        self._batch_size = batch_size
        self._shape = (image_size, image_size, 3)
        self.depth = 1 + -(-len(runs) * request // batch_size)
        self._todo: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        closing = threading.Event()
        threads = [
            threading.Thread(
                target=_work, args=(run, self._todo, closing), name=f"featurebank-engine-{number}", daemon=True
            )
            for number, run in enumerate(runs)
        ]
        for thread in threads:
            thread.start()
        self._stop = weakref.finalize(self, _stop, self._todo, closing, threads)

    def submit(self, images: np.ndarray) -> Future[Answer]:
        """Submits a batch; see `Engine.submit`."""
        if not self._stop.alive:
            message = "the engine is closed"
            raise RuntimeError(message)
        count = len(images)
        if images.dtype != np.uint8 or images.shape[1:] != self._shape or not 1 <= count <= self._batch_size:
            message = (
                f"a batch of shape {images.shape} and type {images.dtype}: expected 1 to {self._batch_size} images of "
                f"shape {self._shape} and type uint8"
            )
            raise ValueError(message)
        starts = range(0, count, self._request)
        batch = _Batch(count, len(starts))
        for start in starts:
            self._todo.put(_Request(batch, start, images[start : start + self._request]))
        return batch.future

    def __call__(self, images: np.ndarray) -> Answer:
        """Returns the taps of a batch; see `Engine`."""
        return self.submit(images).result()

    def close(self) -> None:
        """Stops the threads, each after its current request; waiting requests are cancelled."""
        self._stop()


@dataclass
class _Batch:
    """A batch under way: the requests fill its features part by part."""

    count: int
    left: int
    """Number of unanswered requests."""
    future: Future[Answer] = field(default_factory=Future)
    _answer: Answer = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, start: int, features: Mapping[str, np.ndarray]) -> None:
        with self._lock:
            for tap, rows in features.items():
                if tap not in self._answer:
                    self._answer[tap] = np.empty((self.count, *rows.shape[1:]), np.float32)
        for tap, rows in features.items():
            self._answer[tap][start : start + len(rows)] = rows
        with self._lock:
            self.left -= 1
            done = self.left == 0
        if done:
            with contextlib.suppress(InvalidStateError):  # it has been cancelled, or another request has failed
                self.future.set_result(self._answer)

    def fail(self, error: BaseException) -> None:
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True)
class _Request:
    """A part of a batch, which one thread computes."""

    batch: _Batch
    start: int
    images: np.ndarray


def _work(run: Run, todo: queue.SimpleQueue[_Request | None], closing: threading.Event) -> None:
    """Computes requests until None comes; this is what each thread runs."""
    while (request := todo.get()) is not None:
        if closing.is_set():
            request.batch.future.cancel()
        elif not request.batch.future.done():
            try:
                request.batch.fill(request.start, run(request.images))
            except BaseException as error:  # noqa: BLE001 - it is raised to the caller that waits for the batch
                request.batch.fail(error)
        del request  # otherwise the last batch's images would stay in memory until the next one comes


def _stop(
    todo: queue.SimpleQueue[_Request | None], closing: threading.Event, threads: Sequence[threading.Thread]
) -> None:
    closing.set()
    for _ in threads:
        todo.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()
    with contextlib.suppress(queue.Empty):
        while True:
            request = todo.get_nowait()
            if request is not None:
                request.batch.future.cancel()
