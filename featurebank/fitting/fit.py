"""Fits heads on a bank's training images and evaluates them on its validation images."""

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
from featurebank.heads.base import FitResult
from featurebank.heads.families import Family
from featurebank.heads.memory import check_memory, is_shortage
from featurebank.system.runtime import limited_blas, limited_openmp, ram_limit, set_ram, side_by_side


@dataclass(frozen=True)
class Fitted:
    """The result of fitting one head."""

    head: Any
    seconds: float
    together: int
    metrics: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    failure: str | None = None
    short: bool = False
    """Whether it ran out of memory; the next attempt may succeed."""

    @property
    def right(self) -> str | None:
        """Which validation images it classifies correctly, see `RunRecord.right`."""
        return getattr(self.metrics, "right", None)

    @property
    def parameters(self) -> int | None:
        """The number of its parameters, if known."""
        return None if self.failure else self.head.n_parameters_

    @property
    def history(self) -> dict[str, Any] | None:
        """For heads with epochs: lists with one value per epoch."""
        history = None if self.failure else self.head.history_
        return None if history is None else history.to_dict()


OnFitted = Callable[[int, Fitted], None]
"""Callback that receives the position of a head and its result, as soon as it is available."""


def fit_heads(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits all heads: those with epochs in joint programs, family by family; all others in parallel, one thread each.

    The others go through joblib: `joblib.parallel_config` chooses processes or a cluster instead of threads. Failures
    are reported through the same callback.

    Args:
        specs: specification and seed of each head; all on the tap of `data`.
        data: training and validation features.
        on_fitted: receives the results one by one, in the calling thread.

    Raises:
        RamLimitError: heads on vectors need maps that do not fit into memory.
        HeadError: a family of heads rejects its images or parameters as a whole.
    """
    on_fitted = _calibrating(specs, data, on_fitted)
    specs = [(spec.uncalibrated(), seed) for spec, seed in specs]
    families: dict[Family | None, list[int]] = {}
    for position, (spec, _) in enumerate(specs):
        families.setdefault(spec.head_kind.family, []).append(position)
    in_turn = sorted(families.items(), key=lambda item: item[0].name if item[0] else "")  # heads without a family first
    for family, members in in_turn:
        chosen, take = [specs[i] for i in members], _placed(members, on_fitted)
        if family:
            with limited_blas():
                _fit_together(chosen, data.in_memory if family.in_memory else data, take)
        else:
            _fit_side_by_side(chosen, data.in_memory, take)


def _placed(members: Sequence[int], on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that translates positions among `members` into positions among all heads."""
    return lambda position, fitted: on_fitted(members[position], fitted)


def _fit_side_by_side(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits heads through joblib: in threads, unless the user's `joblib.parallel_config` names another backend."""
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend(prefer="threads")
    _, jobs = get_active_backend()  # None where the user has not set it; a preference would hide that
    with side_by_side() as count, _collect_warnings() as caught:
        work = _Work(data, caught)
        heads = {i: spec.make(seed) for i, (spec, seed) in enumerate(specs)}
        usual = count if getattr(backend, "default_n_jobs", 1) == 1 else -1
        # In a thread of its own: an interrupt does not wait for libraries that compute for hours.
        pool = ThreadPoolExecutor(1, thread_name_prefix="featurebank-heads")
        try:
            done = pool.submit(work.do_all, heads, backend, usual if jobs is None else jobs)
            done.add_done_callback(work.end)
            for _ in specs:
                on_fitted(*work.next())
        except BaseException:
            work.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


def _pieces(heads: Mapping[int, Any]) -> list[list[int]]:
    """Groups the positions into units of work: heads of one regularization path, or a single head."""
    pieces: dict[Hashable, list[int]] = {}
    for position, head in heads.items():
        path = head.path()
        key = position if path is None else (type(head), path)
        pieces.setdefault(key, []).append(position)
    return list(pieces.values())


@dataclass(frozen=True)
class _Work:
    """The work of the threads of `_fit_side_by_side`, with the queue of their results."""

    data: TrainingData
    caught: _ThreadWarnings
    results: queue.SimpleQueue[tuple[int, Fitted] | BaseException] = field(default_factory=queue.SimpleQueue)
    stopped: threading.Event = field(default_factory=threading.Event)

    def next(self) -> tuple[int, Fitted]:
        """Waits for the next result and returns it; raises an error of joblib, for example if a process died."""
        found = self.results.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self, done: Future[None]) -> None:
        """Reports that no more results follow, because the caller would otherwise wait forever."""
        if not done.cancelled():
            self.results.put(done.exception() or RuntimeError("joblib returned fewer results than there are heads"))

    def do_all(self, heads: dict[int, Any], backend: Any, jobs: int) -> None:
        """Fits all heads piece by piece on a joblib backend."""
        from joblib import Parallel, delayed

        def pieces() -> Iterator[dict[int, Any]]:
            for piece in _pieces(heads):
                if not self.stopped.is_set():  # popped, so that a head is freed after its result is reported
                    yield {position: heads.pop(position) for position in piece}

        in_threads = getattr(backend, "supports_sharedmem", False)
        do = self.do if in_threads else partial(_fit_elsewhere, replace(self.data), ram_limit())
        as_done = "generator_unordered" if getattr(backend, "supports_return_generator", False) else "list"
        parallel = Parallel(jobs, backend=backend, batch_size=1, return_as=as_done)
        for results in parallel(delayed(do)(piece) for piece in pieces()):
            for result in results:
                self.results.put(result)

    def do(self, piece: dict[int, Any]) -> Sequence[tuple[int, Fitted]]:
        """Fits the heads of a piece and always reports a result for each: otherwise the caller would wait forever.

        Returns:
            An empty sequence; the results are in the queue.
        """
        together, order = len(piece), list(piece)
        self.caught.lines = set()
        try:
            with limited_openmp():
                for place, seconds, error in self._path(list(piece.values())):
                    position = order[place]
                    self.results.put((position, self._result(piece.pop(position), seconds, together, error)))
                    if self.stopped.is_set():
                        break
        except Exception as error:  # noqa: BLE001 - an error of a library is the result of these runs; others continue
            for position, head in piece.items():
                self.results.put((position, _failed(head, 0.0, together, error)))
        return ()

    def _path(self, heads: list[Any]) -> Iterator[FitResult]:
        yield from type(heads[0]).fit_path(heads, self.data.shared, (self.data.X_val, self.data.y_val))

    def _result(self, head: Any, seconds: float, together: int, error: Exception | None) -> Fitted:
        notes = tuple(sorted(self.caught.lines))
        self.caught.lines = set()
        try:
            if error is None:
                return Fitted(head, seconds, together, score(head, self.data), notes)
        except Exception as refused:  # noqa: BLE001 - as above
            error = refused
        return _failed(head, seconds, together, error)


def _fit_elsewhere(data: TrainingData, ram: int, piece: dict[int, Any]) -> list[tuple[int, Fitted]]:
    """Fits a piece's heads in another process, which computes anew what heads share, and returns all results."""
    set_ram(ram)
    with side_by_side(), _collect_warnings() as caught:
        count, work = len(piece), _Work(data, caught)
        work.do(piece)
        return [work.next() for _ in range(count)]


class _ThreadWarnings(threading.local):
    """The warnings of the head that the current thread fits."""

    lines: set[str]


@contextlib.contextmanager
def _collect_warnings() -> Iterator[_ThreadWarnings]:
    """Collects warnings per thread; `warnings.catch_warnings(record=True)` would mix those of parallel heads."""
    caught = _ThreadWarnings()

    def take(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if hasattr(caught, "lines"):
            caught.lines.add(_one_line(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = take
        yield caught


def _fit_together(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
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

    def take(position: int, failure: str | None, seconds: float, together: int) -> None:
        scores_by_split: dict[str, dict[str, Any]] = {}
        if not failure:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # reported below as a failure
                    scores_by_split = score(heads[position], data)
            except HeadError as error:
                failure = str(error)  # training succeeded, but its probabilities are not finite
        on_fitted(places[position], Fitted(heads[position], seconds, together, scores_by_split, (), failure))

    heads[0].train_heads(heads, data.X, data.y, (data.X_val, data.y_val), views=data.views, on_trained=take)


def _calibrating(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that calibrates fitted heads whose specification asks for it, and passes all heads on."""

    def take(position: int, fitted: Fitted) -> None:
        spec, seed = specs[position]
        if spec.is_calibrated and not fitted.failure:
            began = time.perf_counter()
            try:
                head = spec.make(seed).take(fitted.head, (data.X_val, data.y_val))
                changes = {"head": head, "metrics": score(head, data)}
            except Exception as error:  # noqa: BLE001 - as in `_fit_alone`
                changes = {"metrics": {}, "failure": _one_line(error), "short": is_shortage(error)}
            fitted = replace(fitted, **changes, seconds=fitted.seconds + time.perf_counter() - began)
        on_fitted(position, fitted)

    return take


def _failed(head: Any, seconds: float, together: int, error: BaseException) -> Fitted:
    """Returns the result of a head that failed."""
    return Fitted(head, seconds, together, {}, (), _one_line(error), is_shortage(error))


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, FeatureBankError | Warning) else f"{type(error).__name__}: {text}"
