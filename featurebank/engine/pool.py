"""Batches on their way through an engine: cut into requests, run by a few threads, put together again."""

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
"""Computes one request, (n, size, size, 3) uint8 -> for each tap (n, ...), which may be overwritten by its next one."""
Answer: TypeAlias = dict[str, np.ndarray]


def request_size(image_size: int, batch_size: int, *, most: int) -> int:
    """Returns how many images one request holds: few of large images, many of small ones.

    A batch is cut into equal requests, since a shorter one takes as long as a full one.

    Args:
        image_size: the side of the images in pixels.
        batch_size: images in a batch, at most.
        most: how many images of 224 x 224 pixels a request may hold; of other sizes, as many pixels.
    """
    requests = -(-batch_size // max(1, round(most * 224**2 / image_size**2)))
    return -(-batch_size // requests)


class PooledEngine:
    """An engine that runs batches on one thread for each of some `Run`s.

    Its threads hold no program back from ending: at the end of the process each is waited for until it has finished
    the request that it is at, and what has not begun is cancelled. So they are when nobody holds the engine any more.

    Args:
        runs: what computes a request; each is called by one thread only.
        request: images in a request, at most.
        batch_size: images in a batch, at most.
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
        """Hands a batch over; see `Engine.submit`."""
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
        """Ends the threads, each after the request that it is at; what has not begun is cancelled."""
        self._stop()


@dataclass
class _Batch:
    """The answer to a batch, while requests fill it."""

    count: int
    left: int
    """Requests that are still to be answered."""
    future: Future[Answer] = field(default_factory=Future)
    _answer: Answer = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, start: int, found: Mapping[str, np.ndarray]) -> None:
        with self._lock:
            for tap, rows in found.items():
                if tap not in self._answer:
                    self._answer[tap] = np.empty((self.count, *rows.shape[1:]), np.float32)
        for tap, rows in found.items():
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
    batch: _Batch
    start: int
    images: np.ndarray


def _work(run: Run, todo: queue.SimpleQueue[_Request | None], closing: threading.Event) -> None:
    while (request := todo.get()) is not None:
        if closing.is_set():
            request.batch.future.cancel()
        elif not request.batch.future.done():
            try:
                request.batch.fill(request.start, run(request.images))
            except BaseException as error:  # noqa: BLE001 - whoever waits for the batch raises it
                request.batch.fail(error)
        del request  # the images of the last batch are not held until the next one comes


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
