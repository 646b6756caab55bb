"""Fits heads without epochs in parallel through joblib: in threads, unless `joblib.parallel_config` says otherwise.

Heads on the same images share computations, and those of one regularization path are fitted one after another
(`Head.fit_path`): such a group, or a single head, is a task of joblib.

joblib returns the results of a task when all its heads are done, but each result is needed at once, so threads put
them into a queue. joblib itself runs in a thread of its own: with one job it computes in the thread that calls it, and
Ctrl-C would wait for a library that computes for hours.

A task for another process names its features by a reference to the bank (`fitting.loaded`), and its results come back
without them (`fitting.compact`). So a task has a few kilobytes, whatever the size of the bank.
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

from featurebank.errors import BankError
from featurebank.fitting.compact import from_bytes, to_bytes
from featurebank.fitting.data import DataReference, TrainingData
from featurebank.fitting.fitted import Fitted, OnFitted, failed, one_line
from featurebank.fitting.loaded import reference_data
from featurebank.fitting.scoring import score
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.streamed.passes import StoppedError
from featurebank.system.runtime import Overlapping, limit_ram, limited_openmp, ram_limit, side_by_side
from featurebank.training.loop import part_ended

_Result = tuple[int, Fitted]
"""The position of a head, and its result."""


def fit_in_parallel(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits heads without epochs, each with one thread.

    Args:
        specs: the specification and the seed of each head.
        data: the training and validation features; they may stay in the bank if all heads can read them there.
        on_fitted: called with the result of each head as soon as it is available, in the calling thread.

    Raises:
        BankError: features that stay in the bank cannot be read.
    """
    with side_by_side() as count, _collect_warnings() as caught:
        heads = {position: spec.make(seed) for position, (spec, seed) in enumerate(specs)}
        work = _Work(_Fitter(data, caught))
        passes = [found for found in (data.passes, data.validation_passes) if found]
        for found in passes:
            found.on_block = work.block_ended
        thread = threading.Thread(target=work.run, args=[heads, *_backend(count)], name="featurebank-heads")
        thread.start()
        try:
            for _ in specs:
                on_fitted(*work.next())
            thread.join()
        finally:
            work.stopped.set()
            for found in passes:
                found.on_block = part_ended


def _backend(count: int) -> tuple[Any, int]:
    """Returns joblib's backend and number of jobs: the user's own, else threads, as many as `count`."""
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    _, jobs = get_active_backend()  # the user's own n_jobs, or None: asking with a preference would return a default
    default_jobs = count if getattr(backend, "default_n_jobs", 1) == 1 else -1
    return backend, default_jobs if jobs is None else jobs


def tasks_of(heads: Mapping[int, Any]) -> list[list[int]]:
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

        Raises:
            BankError: features that stay in the bank cannot be read, which is no result of a head.
        """
        together, order, kind = len(task), list(task), type(next(iter(task.values())))
        validation_data = self.data.X_val, self.data.y_val
        self.caught.lines = set()
        try:
            with limited_openmp():
                for place, seconds, error in kind.fit_path(list(task.values()), self.data.shared, validation_data):
                    position = order[place]
                    if isinstance(error, BankError):
                        raise error
                    yield position, self._result(task.pop(position), seconds, together, error)
        except BankError:
            raise
        except Exception as error:  # noqa: BLE001 - a library's error is the result of these heads; others continue
            for position, head in task.items():
                yield position, failed(head, 0.0, together, error)

    def _result(self, head: Any, seconds: float, together: int, error: Exception | None) -> Fitted:
        notes = tuple(sorted(self.caught.lines))
        self.caught.lines = set()
        try:
            if error is None:
                return Fitted(head, seconds, together, score(head, self.data), notes)
        except BankError:
            raise
        except Exception as refused:  # noqa: BLE001 - as above
            error = refused
        return failed(head, seconds, together, error)


def _fit_in_process(source: TrainingData | DataReference, ram: int, task: dict[int, Any]) -> bytes:
    """Fits the heads of a task in another process, several of whose threads may do so at the same time.

    Args:
        source: the features, or where this process finds them.
        ram: the limit of memory of the caller's process.
        task: heads by position.

    Returns:
        The results, of `to_bytes`.
    """
    limit_ram(ram)
    features = reference_data(source) if isinstance(source, DataReference) else contextlib.nullcontext(source)
    with features as found, side_by_side(), _collect_warnings() as caught:
        head = next(iter(task.values()))  # they are of one class
        data = found if found.is_read_by(head) else found.in_memory
        return to_bytes(list(_Fitter(data, caught).results(task)), data)


@dataclass(frozen=True)
class _Work:
    """The work of joblib's thread, and the queue by which its results reach the caller's thread."""

    fitter: _Fitter
    results: queue.SimpleQueue[_Result | BaseException | None] = field(default_factory=queue.SimpleQueue)
    stopped: threading.Event = field(default_factory=threading.Event)

    def next(self) -> _Result:
        """Waits for the next result and returns it; raises an error of joblib, for example if a process died.

        Meanwhile it calls `within` of `between_epochs` whenever a head has used a block of stored features.
        """
        while (found := self.results.get()) is None:
            part_ended()
        if isinstance(found, BaseException):
            raise found
        return found

    def block_ended(self) -> None:
        """Lets the caller's thread notice that a head has used a block; ends the pass if nobody waits for it."""
        if self.stopped.is_set():
            message = "the training was stopped"
            raise StoppedError(message)
        self.results.put(None)

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
            for task in tasks_of(heads):
                if not self.stopped.is_set():  # `pop`: a reference here would keep heads in memory after their results
                    yield {position: heads.pop(position) for position in task}

        in_threads, data = getattr(backend, "supports_sharedmem", False), self.fitter.data
        fit = self._fit if in_threads else partial(_fit_in_process, _source(data), ram_limit())
        return_as = "generator_unordered" if getattr(backend, "supports_return_generator", False) else "list"
        parallel = Parallel(jobs, backend=backend, batch_size=1, return_as=return_as)
        for content in parallel(delayed(fit)(task) for task in tasks()):
            for result in from_bytes(content, data) if content else ():
                self.results.put(result)

    def _fit(self, task: dict[int, Any]) -> bytes:
        """Fits a task in a thread, and puts each result into the queue; returns none, unlike `_fit_in_process`."""
        for _ in map(self.results.put, self.fitter.results(task)):  # no variable holds a result after it was put
            if self.stopped.is_set():
                break
        return b""


def _source(data: TrainingData) -> TrainingData | DataReference:
    """Returns what a task for another process holds of the features; heads without epochs use no views."""
    if data.reference:
        return replace(data.reference, views=0)
    return replace(data)  # a copy without its cached properties, whose locks cannot be pickled


class _ThreadWarnings(threading.local):
    """The warnings of the head that the current thread fits."""

    lines: set[str]


@contextlib.contextmanager
def _catch_warnings() -> Iterator[_ThreadWarnings]:
    """Collects warnings per thread; `warnings.catch_warnings(record=True)` would mix those of parallel heads."""
    caught = _ThreadWarnings()

    def record(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if hasattr(caught, "lines"):
            caught.lines.add(one_line(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = record
        yield caught


_collect_warnings = Overlapping(_catch_warnings)
