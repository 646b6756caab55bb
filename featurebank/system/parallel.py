"""Work in threads: ordered work with a bounded number of items in flight, and what tasks of a process share.

Also what remains to be done when a process ends without waiting for its threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from featurebank.system.runtime import threads

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_cleanups: list[Callable[[], None]] = []
_Value = TypeVar("_Value")

KEPT_S = 60.0
"""A `SharedValue` that no task uses is freed after this time: a worker of a cluster may live for days."""


def ordered_map(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    name: str,
    count: int | None = None,
    ahead: int | None = None,
) -> Generator[_Result, None, None]:
    """Applies a function to items in a pool of threads, and yields the results in the order of the items.

    At most `ahead` items are taken before their results are consumed, so that memory is bounded however slow the caller
    is. Neither `joblib.Parallel(return_as="generator")` nor, before Python 3.14, `Executor.map` can do that:
    both compute all results while the caller processes the first one.

    Args:
        work: called in threads, with one item at a time. Its exceptions are raised in the caller when the turn of the
            item comes.
        items: the items, iterated in the caller's thread.
        name: a word for the work. The threads' names begin with "featurebank-" and this word, so that the command line
            recognizes threads that it need not wait for when it is interrupted.
        count: number of threads; by default `threads()`.
        ahead: the largest number of items in flight; by default two per thread.

    Yields:
        The results. When the caller leaves early, by an interrupt or by closing the generator, it does not wait: each
        thread ends after its current item, and waiting items are cancelled.

    Example:
        >>> list(ordered_map(str.upper, ["ant", "bee"], name="example"))
        ['ANT', 'BEE']
    """
    count = count or threads()
    ahead = ahead or 2 * count
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix=f"featurebank-{name}")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@contextlib.contextmanager
def cleaned_up_by(cleanup: Callable[[], None]) -> Iterator[None]:
    """Calls a function if the process is interrupted and ends while a thread is still inside the block."""
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


def clean_up() -> None:
    """Does what threads cannot do any more because the process ends now; see `cleaned_up_by`."""
    for cleanup in _cleanups.copy():
        with contextlib.suppress(Exception):
            cleanup()


class SharedValue(Generic[_Value]):
    """A value that the tasks of this process make once and use one after another or at the same time.

    It is freed when a task needs another one, or a minute after its last use.

    Args:
        free: called with a value that is freed.
    """

    def __init__(self, free: Callable[[_Value], None] = lambda value: None) -> None:
        self._free, self._lock = free, threading.RLock()
        self._held: tuple[Hashable, _Value] | None = None
        self._users = 0
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def using(self, key: Hashable, make: Callable[[], _Value]) -> Iterator[_Value]:
        """Provides the value of a key for the block.

        Args:
            key: the name of the value, with all that it depends on.
            make: makes the value; other threads wait meanwhile.
        """
        with self._lock:
            if self._timer:
                self._timer.cancel()
            if self._held is None or self._held[0] != key:
                self._release()  # first, because both may not fit into memory
                self._held = key, make()
            value = self._held[1]
            self._users += 1
        try:
            yield value
        finally:
            del value
            with self._lock:
                self._users -= 1
                self._timer = threading.Timer(KEPT_S, self._end)
                self._timer.daemon = True
                self._timer.start()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._free(held[1])

    def _end(self) -> None:
        with self._lock:
            if not self._users:
                self._release()
