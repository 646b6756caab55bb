"""Fits heads without epochs in parallel through joblib: in threads, unless `joblib.parallel_config` says otherwise.

Heads on the same images share computations, and those of one regularization path are fitted one after another
(`Head.fit_path`): such a group, or a single head, is a task of joblib.

joblib returns the results of a task when all its heads are done, but each result is needed at once, so threads put
them into a queue. joblib itself runs in a thread of its own: with one job it computes in the thread that calls it, and
Ctrl-C would wait for a library that computes for hours.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from featurebank.fitting.data import TrainingData
from featurebank.fitting.fitted import Fitted, OnFitted, failed, one_line
from featurebank.fitting.scoring import score
from featurebank.fitting.spec import HeadSpec
from featurebank.system.runtime import limit_ram, limited_openmp, ram_limit, side_by_side

_Result = tuple[int, Fitted]
"""The position of a head, and its result."""


def fit_in_parallel(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits heads without epochs, each with one thread.

    Args:
        specs: the specification and the seed of each head.
        data: the training and validation features, in memory.
        on_fitted: called with the result of each head as soon as it is available, in the calling thread.
    """
    with side_by_side() as count, _collect_warnings() as caught:
        heads = {position: spec.make(seed) for position, (spec, seed) in enumerate(specs)}
        work = _Work(_Fitter(data, caught))
        thread = threading.Thread(target=work.run, args=[heads, *_backend(count)], name="featurebank-heads")
        thread.start()
        try:
            for _ in specs:
                on_fitted(*work.next())
            thread.join()
        finally:
            work.stopped.set()


def _backend(count: int) -> tuple[Any, int]:
    """Returns joblib's backend and number of jobs: the user's own, else threads, as many as `count`."""
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    _, jobs = get_active_backend()  # the user's own n_jobs, or None: asking with a preference would return a default
    default_jobs = count if getattr(backend, "default_n_jobs", 1) == 1 else -1
    return backend, default_jobs if jobs is None else jobs


def _tasks(heads: Mapping[int, Any]) -> list[list[int]]:
    """Groups the positions of heads into tasks: heads of one regularization path, or a single head."""
    tasks: dict[Hashable, list[int]] = {}
    for position, head in heads.items():
        path = head.path()
        key = position if path is None else (type(head), path)
        tasks.setdefault(key, []).append(position)
    return list(tasks.values())


@dataclass(frozen=True)
class _Fitter:
    """Fits the heads of a task; threads share it."""

    data: TrainingData
    caught: _ThreadWarnings

    def results(self, task: dict[int, Any]) -> Iterator[_Result]:
        """Yields a result for each head of a task as soon as it is fitted, whatever fails: the caller waits for it.

        Args:
            task: heads by position; a head is removed before its result is yielded, so that nothing here holds it.
        """
        together, order, kind = len(task), list(task), type(next(iter(task.values())))
        validation_data = self.data.X_val, self.data.y_val
        self.caught.lines = set()
        try:
            with limited_openmp():
                for place, seconds, error in kind.fit_path(list(task.values()), self.data.shared, validation_data):
                    position = order[place]
                    yield position, self._result(task.pop(position), seconds, together, error)
        except Exception as error:  # noqa: BLE001 - a library's error is the result of these heads; others continue
            for position, head in task.items():
                yield position, failed(head, 0.0, together, error)

    def _result(self, head: Any, seconds: float, together: int, error: Exception | None) -> Fitted:
        notes = tuple(sorted(self.caught.lines))
        self.caught.lines = set()
        try:
            if error is None:
                return Fitted(head, seconds, together, score(head, self.data), notes)
        except Exception as refused:  # noqa: BLE001 - as above
            error = refused
        return failed(head, seconds, together, error)


def _fit_in_process(data: TrainingData, ram: int, task: dict[int, Any]) -> list[_Result]:
    """Fits the heads of a task in a process of its own, which shares no computations with others."""
    limit_ram(ram)
    with side_by_side(), _collect_warnings() as caught:
        return list(_Fitter(data, caught).results(task))


@dataclass(frozen=True)
class _Work:
    """The work of joblib's thread, and the queue by which its results reach the caller's thread."""

    fitter: _Fitter
    results: queue.SimpleQueue[_Result | BaseException] = field(default_factory=queue.SimpleQueue)
    stopped: threading.Event = field(default_factory=threading.Event)

    def next(self) -> _Result:
        """Waits for the next result and returns it; raises an error of joblib, for example if a process died."""
        found = self.results.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def run(self, heads: dict[int, Any], backend: Any, jobs: int) -> None:
        """Fits all heads task by task on a joblib backend."""
        end: BaseException = RuntimeError("joblib returned fewer results than there are heads")
        try:
            self._run(heads, backend, jobs)
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            end = error
        self.results.put(end)  # a caller that still waits for a result receives it

    def _run(self, heads: dict[int, Any], backend: Any, jobs: int) -> None:
        from joblib import Parallel, delayed

        def tasks() -> Iterator[dict[int, Any]]:
            for task in _tasks(heads):
                if not self.stopped.is_set():  # `pop`: a reference here would keep heads in memory after their results
                    yield {position: heads.pop(position) for position in task}

        in_threads = getattr(backend, "supports_sharedmem", False)
        # `replace` copies the data without its cached properties, whose locks cannot be pickled
        fit = self._fit if in_threads else partial(_fit_in_process, replace(self.fitter.data), ram_limit())
        return_as = "generator_unordered" if getattr(backend, "supports_return_generator", False) else "list"
        parallel = Parallel(jobs, backend=backend, batch_size=1, return_as=return_as)
        for results in parallel(delayed(fit)(task) for task in tasks()):
            for result in results:
                self.results.put(result)

    def _fit(self, task: dict[int, Any]) -> Sequence[_Result]:
        """Fits a task in a thread, and puts each result into the queue; returns none, unlike `_fit_in_process`."""
        for _ in map(self.results.put, self.fitter.results(task)):  # no variable holds a result after it was put
            if self.stopped.is_set():
                break
        return ()


class _ThreadWarnings(threading.local):
    """The warnings of the head that the current thread fits."""

    lines: set[str]


@contextlib.contextmanager
def _collect_warnings() -> Iterator[_ThreadWarnings]:
    """Collects warnings per thread; `warnings.catch_warnings(record=True)` would mix those of parallel heads."""
    caught = _ThreadWarnings()

    def record(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if hasattr(caught, "lines"):
            caught.lines.add(one_line(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = record
        yield caught
