"""Training heads on a bank's training images and scoring them on its validation images."""

from __future__ import annotations

import contextlib
import inspect
import queue
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from featurebank.errors import FeatureBankError, HeadError, RamLimitError
from featurebank.heads.catalog import family_of, is_calibrated, make_head, uncalibrated
from featurebank.heads.data import TrainingData
from featurebank.heads.exact import ExactHead, Told
from featurebank.heads.families import DENSE
from featurebank.heads.memory import check_memory, is_shortage
from featurebank.heads.runs import HeadSpec
from featurebank.heads.scoring import score
from featurebank.heads.size import parameters_of
from featurebank.runtime import limited_blas, side_by_side


@dataclass(frozen=True)
class Fitted:
    """What came of one head."""

    head: Any
    seconds: float
    together: int
    metrics: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    failure: str | None = None
    short: bool = False
    """Whether it failed for want of memory, which may be otherwise at the next try."""

    @property
    def right(self) -> str | None:
        """Which validation images it gets right, as `Run.right`."""
        return getattr(self.metrics, "right", None)

    @property
    def parameters(self) -> int | None:
        """How many numbers it holds, where that can be told."""
        return None if self.failure else parameters_of(self.head)

    @property
    def history(self) -> dict[str, Any] | None:
        """One value an epoch, of heads that have epochs."""
        found = getattr(self.head, "history_", None)
        return None if found is None or self.failure else found.to_dict()


OnFitted = Callable[[int, Fitted], None]
"""Called with the position of a head and what came of it, as soon as that is known."""


def fit_heads(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Trains heads: those with epochs family by family, the others side by side, each on one thread.

    A head that fails is told like the others.

    Args:
        specs: specification and seed of each; all of the tap of `data`.
        data: what they are trained and scored on.
        on_fitted: takes the results, one by one, in the thread that called.

    Raises:
        RamLimitError: heads of vectors are to be trained on maps that do not fit into memory.
        HeadError: heads of a family refuse their images or parameters as a whole.
    """
    on_fitted = _calibrating(specs, data, on_fitted)
    specs = [(replace(spec, params=uncalibrated(spec.params)), seed) for spec, seed in specs]
    families: dict[str, list[int]] = {}
    for position, (spec, _) in enumerate(specs):
        families.setdefault(family_of(spec.kind), []).append(position)
    for family, members in sorted(families.items()):  # first those that have none
        chosen, take = [specs[i] for i in members], _placed(members, on_fitted)
        if family:
            with limited_blas():
                _fit_together(chosen, data.in_memory if family == DENSE else data, take)
        else:
            _fit_side_by_side(chosen, data.in_memory, take)


def _placed(members: Sequence[int], on_fitted: OnFitted) -> OnFitted:
    """Returns what takes the results of some heads and gives them on with their places among all."""
    return lambda position, fitted: on_fitted(members[position], fitted)


def _fit_side_by_side(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    with side_by_side() as count, _collected_warnings() as caught:
        heads = {i: make_head(spec.kind, spec.params, random_state=seed) for i, (spec, seed) in enumerate(specs)}
        pool, work = ThreadPoolExecutor(count, thread_name_prefix="featurebank-heads"), _Work(data, caught)
        try:
            for piece in _pieces(heads):  # popped: a head that is told need not stay in memory
                pool.submit(work.do, {position: heads.pop(position) for position in piece})
            for _ in specs:
                on_fitted(*work.told.get())
        except BaseException:
            work.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)  # a library may compute on for hours
            raise
        pool.shutdown()


def _pieces(heads: Mapping[int, Any]) -> list[list[int]]:
    """Returns the positions by the work that is done in one piece: heads of one path, or one head."""
    pieces: dict[Hashable, list[int]] = {}
    for position, head in heads.items():
        key = (type(head), head.path()) if isinstance(head, ExactHead) else position
        pieces.setdefault(key, []).append(position)
    return list(pieces.values())


@dataclass(frozen=True)
class _Work:
    """What the threads of `_fit_side_by_side` do, and how they tell of it."""

    data: TrainingData
    caught: _Caught
    told: queue.SimpleQueue[tuple[int, Fitted]] = field(default_factory=queue.SimpleQueue)
    stopped: threading.Event = field(default_factory=threading.Event)

    def do(self, piece: dict[int, Any]) -> None:
        """Fits a piece's heads and tells of each, whatever happens: who waits for them would wait forever."""
        together, order = len(piece), list(piece)
        self.caught.lines = set()
        try:
            for place, seconds, error in self._path(list(piece.values())):
                position = order[place]
                self.told.put((position, self._judged(piece.pop(position), seconds, together, error)))
                if self.stopped.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - whatever a library refuses is a result of these runs; others go on
            for position, head in piece.items():
                self.told.put((position, _failed(head, 0.0, together, error)))

    def _path(self, heads: list[Any]) -> Iterator[Told]:
        if isinstance(heads[0], ExactHead):
            yield from type(heads[0]).fit_path(heads, self.data.shared)
            return
        began, failure = time.perf_counter(), None
        try:
            more = {"shared": self.data.shared} if "shared" in inspect.signature(heads[0].fit).parameters else {}
            heads[0].fit(self.data.X, self.data.y, validation_data=(self.data.X_val, self.data.y_val), **more)
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        yield 0, time.perf_counter() - began, failure

    def _judged(self, head: Any, seconds: float, together: int, error: Exception | None) -> Fitted:
        notes = tuple(sorted(self.caught.lines))
        self.caught.lines = set()
        try:
            if error is None:
                return Fitted(head, seconds, together, score(head, self.data), notes)
        except Exception as refused:  # noqa: BLE001 - as above
            error = refused
        return _failed(head, seconds, together, error)


class _Caught(threading.local):
    """The warnings of the head that this thread trains."""

    lines: set[str]


@contextlib.contextmanager
def _collected_warnings() -> Iterator[_Caught]:
    """Collects warnings by thread; `warnings.catch_warnings(record=True)` would mix those of heads side by side."""
    caught = _Caught()

    def take(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if hasattr(caught, "lines"):
            caught.lines.add(_one_line(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = take
        yield caught


def _fit_together(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    every = [make_head(spec.kind, spec.params, random_state=seed) for spec, seed in specs]
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
        found: dict[str, dict[str, Any]] = {}
        if not failure:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # a failure, told below
                    found = score(heads[position], data)
            except HeadError as error:
                failure = str(error)  # its training went well, its answers did not
        on_fitted(places[position], Fitted(heads[position], seconds, together, found, (), failure))

    heads[0].train_heads(heads, data.X, data.y, (data.X_val, data.y_val), views=data.views, on_trained=take)


def _calibrating(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> OnFitted:
    """Returns what takes heads that were trained plain and gives those on that are to be calibrated, calibrated."""

    def take(position: int, fitted: Fitted) -> None:
        spec, seed = specs[position]
        if is_calibrated(spec.params) and not fitted.failure:
            began = time.perf_counter()
            try:
                head = make_head(spec.kind, spec.params, random_state=seed).take(fitted.head, (data.X_val, data.y_val))
                found = {"head": head, "metrics": score(head, data)}
            except Exception as error:  # noqa: BLE001 - as in `_fit_alone`
                found = {"metrics": {}, "failure": _one_line(error), "short": is_shortage(error)}
            fitted = replace(fitted, **found, seconds=fitted.seconds + time.perf_counter() - began)
        on_fitted(position, fitted)

    return take


def _failed(head: Any, seconds: float, together: int, error: BaseException) -> Fitted:
    """Returns what came of a head that failed."""
    return Fitted(head, seconds, together, {}, (), _one_line(error), is_shortage(error))


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, FeatureBankError | Warning) else f"{type(error).__name__}: {text}"
