"""Fits heads on a bank's training images and evaluates them on its validation images.

Heads with epochs are trained family by family, many heads in one TensorFlow program (`Head.train_heads`). All other
heads are fitted by joblib, in threads by default. Heads on the same images share computations, and those of one
regularization path are fitted one after another (`Head.fit_path`): such a group, or a single head, is a task.

Each result goes to a callback at once, in the thread that called `fit_heads`: worker threads only put results into a
queue. So the caller needs no locks, and Ctrl-C loses no finished head. A head that fails is a result, too.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from featurebank.errors import FeatureBankError, HeadError, RamLimitError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.scoring import score
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.kinds import Family
from featurebank.heads.memory import check_memory, is_shortage
from featurebank.system.runtime import limit_ram, limited_blas, limited_openmp, ram_limit, side_by_side


@dataclass(frozen=True)
class Fitted:
    """The result of fitting one head."""

    head: Any
    seconds: float
    together: int
    """The number of heads in the same program or task."""
    metrics: dict[str, dict[str, Any]]
    """Metrics by name for "train" and "val"; empty if the head failed."""
    notes: tuple[str, ...]
    """The warnings of the libraries, one line each."""
    failure: str | None = None
    """Why the head failed; None if it did not."""
    short: bool = False
    """Whether it failed because memory ran out; another attempt may succeed."""

    @property
    def right(self) -> str | None:
        """Which validation images the head classifies correctly; see `RunRecord.right`."""
        return getattr(self.metrics, "right", None)

    @property
    def parameters(self) -> int | None:
        """The number of trained values of the head; None if it is unknown."""
        return None if self.failure else self.head.n_parameters_

    @property
    def history(self) -> dict[str, Any] | None:
        """Lists with one value per epoch, by name; None for heads without epochs."""
        history = None if self.failure else self.head.history_
        return None if history is None else history.to_dict()


OnFitted = Callable[[int, Fitted], None]
"""Callback that receives the position of a head and its result, as soon as it is available."""


def fit_heads(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits all heads, those with epochs in joint programs and all others in parallel, with one thread each.

    With `joblib.parallel_config`, processes or a cluster fit the heads without epochs instead of threads.

    Args:
        specs: the specification and the seed of each head, all on the tap of `data`.
        data: the training and validation features.
        on_fitted: called with the result of each head as soon as it is available, in the calling thread.

    Raises:
        RamLimitError: heads on vectors need maps that do not fit into memory.
        HeadError: a family of heads rejects its images or parameters as a whole.
    """
    on_fitted = _with_calibration(specs, data, on_fitted)
    specs = [(spec.uncalibrated(), seed) for spec, seed in specs]
    families: dict[Family | None, list[int]] = {}
    for position, (spec, _) in enumerate(specs):
        families.setdefault(spec.head_kind.family, []).append(position)
    ordered = sorted(families.items(), key=lambda item: item[0].name if item[0] else "")  # heads without a family first
    for family, members in ordered:
        selection, report = [specs[i] for i in members], _renumbered(members, on_fitted)
        if family:
            with limited_blas():
                _fit_in_programs(selection, data.in_memory if family.in_memory else data, report)
        else:
            _fit_side_by_side(selection, data.in_memory, report)


def _renumbered(members: Sequence[int], on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that translates positions among `members` into positions among all heads."""
    return lambda position, fitted: on_fitted(members[position], fitted)


def _fit_side_by_side(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits heads through joblib: in threads, unless the user's `joblib.parallel_config` names another backend."""
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    _, jobs = get_active_backend()  # the user's own n_jobs, or None: asking with a preference would return a default
    with side_by_side() as count, _collect_warnings() as caught:
        work = _Work(data, caught)
        heads = {i: spec.make(seed) for i, (spec, seed) in enumerate(specs)}
        default_jobs = count if getattr(backend, "default_n_jobs", 1) == 1 else -1
        # joblib runs in another thread, so that Ctrl-C need not wait for a library that computes for hours.
        pool = ThreadPoolExecutor(1, thread_name_prefix="featurebank-heads")
        try:
            done = pool.submit(work.do_all, heads, backend, default_jobs if jobs is None else jobs)
            done.add_done_callback(work.end)
            for _ in specs:
                on_fitted(*work.next())
        except BaseException:
            work.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


def _tasks(heads: Mapping[int, Any]) -> list[list[int]]:
    """Groups the positions of heads into tasks: heads of one regularization path, or a single head."""
    tasks: dict[Hashable, list[int]] = {}
    for position, head in heads.items():
        path = head.path()
        key = position if path is None else (type(head), path)
        tasks.setdefault(key, []).append(position)
    return list(tasks.values())


@dataclass(frozen=True)
class _Work:
    """What the threads of `_fit_side_by_side` do, and the queue of their results."""

    data: TrainingData
    caught: _ThreadWarnings
    results: queue.SimpleQueue[tuple[int, Fitted] | BaseException] = field(default_factory=queue.SimpleQueue)
    stopped: threading.Event = field(default_factory=threading.Event)

    def next(self) -> tuple[int, Fitted]:
        """Waits for the next result and returns it; raises an error of joblib, for example if a process died."""
        result = self.results.get()
        if isinstance(result, BaseException):
            raise result
        return result

    def end(self, done: Future[None]) -> None:
        """Puts an error into the queue when joblib has ended; a caller that still waits for a result receives it."""
        if not done.cancelled():
            self.results.put(done.exception() or RuntimeError("joblib returned fewer results than there are heads"))

    def do_all(self, heads: dict[int, Any], backend: Any, jobs: int) -> None:
        """Fits all heads task by task on a joblib backend."""
        from joblib import Parallel, delayed

        def tasks() -> Iterator[dict[int, Any]]:
            for task in _tasks(heads):
                if not self.stopped.is_set():  # `pop`: a reference here would keep heads in memory after their results
                    yield {position: heads.pop(position) for position in task}

        in_threads = getattr(backend, "supports_sharedmem", False)
        # `replace` copies the data without its cached properties, whose locks cannot be pickled
        do = self.do if in_threads else partial(_fit_in_process, replace(self.data), ram_limit())
        return_as = "generator_unordered" if getattr(backend, "supports_return_generator", False) else "list"
        parallel = Parallel(jobs, backend=backend, batch_size=1, return_as=return_as)
        for results in parallel(delayed(do)(task) for task in tasks()):
            for result in results:
                self.results.put(result)

    def do(self, task: dict[int, Any]) -> Sequence[tuple[int, Fitted]]:
        """Fits the heads of a task and puts a result for each into the queue, whatever fails: the caller waits for it.

        Returns:
            An empty sequence, in place of the results of `_fit_in_process`.
        """
        together, order, kind = len(task), list(task), type(next(iter(task.values())))
        validation_data = self.data.X_val, self.data.y_val
        self.caught.lines = set()
        try:
            with limited_openmp():
                for place, seconds, error in kind.fit_path(list(task.values()), self.data.shared, validation_data):
                    position = order[place]
                    self.results.put((position, self._result(task.pop(position), seconds, together, error)))
                    if self.stopped.is_set():
                        break
        except Exception as error:  # noqa: BLE001 - a library's error is the result of these heads; others continue
            for position, head in task.items():
                self.results.put((position, _failed(head, 0.0, together, error)))
        return ()

    def _result(self, head: Any, seconds: float, together: int, error: Exception | None) -> Fitted:
        notes = tuple(sorted(self.caught.lines))
        self.caught.lines = set()
        try:
            if error is None:
                return Fitted(head, seconds, together, score(head, self.data), notes)
        except Exception as refused:  # noqa: BLE001 - as above
            error = refused
        return _failed(head, seconds, together, error)


def _fit_in_process(data: TrainingData, ram: int, task: dict[int, Any]) -> list[tuple[int, Fitted]]:
    """Fits the heads of a task in a process of its own, which shares no computations with others."""
    limit_ram(ram)
    with side_by_side(), _collect_warnings() as caught:
        count, work = len(task), _Work(data, caught)
        work.do(task)
        return [work.next() for _ in range(count)]


class _ThreadWarnings(threading.local):
    """The warnings of the head that the current thread fits."""

    lines: set[str]


@contextlib.contextmanager
def _collect_warnings() -> Iterator[_ThreadWarnings]:
    """Collects warnings per thread; `warnings.catch_warnings(record=True)` would mix those of parallel heads."""
    caught = _ThreadWarnings()

    def record(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if hasattr(caught, "lines"):
            caught.lines.add(_one_line(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = record
        yield caught


def _fit_in_programs(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits the heads of one family in joint programs; those that need too much memory fail without a start."""
    every = [spec.make(seed) for spec, seed in specs]
    places = []
    for place, head in enumerate(every):
        try:
            check_memory(head, len(data.y), data.shape, data.present, data.nbytes)
            places.append(place)
        except RamLimitError as error:
            on_fitted(place, _failed(head, 0.0, 1, error))
    if not places:
        return
    heads = [every[place] for place in places]

    def on_trained(position: int, failure: str | None, seconds: float, together: int) -> None:
        scores_by_split: dict[str, dict[str, Any]] = {}
        if not failure:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # `score` raises an error for such probabilities
                    scores_by_split = score(heads[position], data)
            except HeadError as error:
                failure = str(error)
        on_fitted(places[position], Fitted(heads[position], seconds, together, scores_by_split, (), failure))

    heads[0].train_heads(heads, data.X, data.y, (data.X_val, data.y_val), views=data.views, on_trained=on_trained)


def _with_calibration(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that calibrates a fitted head if its specification demands it, and then calls `on_fitted`.

    Calibration comes after the training, so that calibrated heads can share a program with others.
    """

    def calibrate(position: int, fitted: Fitted) -> None:
        spec, seed = specs[position]
        if spec.is_calibrated and not fitted.failure:
            began = time.perf_counter()
            try:
                head = spec.make(seed).calibrate(fitted.head, (data.X_val, data.y_val))
                changes = {"head": head, "metrics": score(head, data)}
            except Exception as error:  # noqa: BLE001 - as in `_Work.do`
                changes = {"metrics": {}, "failure": _one_line(error), "short": is_shortage(error)}
            fitted = replace(fitted, **changes, seconds=fitted.seconds + time.perf_counter() - began)
        on_fitted(position, fitted)

    return calibrate


def _failed(head: Any, seconds: float, together: int, error: BaseException) -> Fitted:
    """Returns the result of a head that failed."""
    return Fitted(head, seconds, together, {}, (), _one_line(error), is_shortage(error))


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, FeatureBankError | Warning) else f"{type(error).__name__}: {text}"
