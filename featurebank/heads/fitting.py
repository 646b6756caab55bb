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
from functools import cached_property
from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.bank import Bank
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.heads.calibration import CalibratedHead
from featurebank.heads.catalog import is_calibrated, is_neural, make_head, uncalibrated
from featurebank.heads.exact import ExactHead, Told
from featurebank.heads.runs import HeadSpec, pack
from featurebank.heads.shared import Shared
from featurebank.heads.size import parameters_of
from featurebank.runtime import limited_blas, side_by_side

SCORED_TRAINING_ROWS = 10_000
"""Training accuracy is measured on so many images at most: it serves to see over-fitting, and k neighbours or a
kernel would take longer to look at every training image than to be trained. Rows lie in the order of their digests,
which is random."""


@dataclass(frozen=True)
class TrainingData:
    """The training and validation images of one tap."""

    tap: str
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    classes: int
    views: Sequence[np.ndarray] = ()
    """Further views of the training images."""

    @classmethod
    def of(cls, bank: Bank, tap: str) -> TrainingData:
        """Reads them.

        Raises:
            DatasetError: a split is empty, or the training images have one class only.
            UnknownNameError: the bank has no such tap.
        """
        check_splits(bank)
        y, y_val = bank.labels("train"), bank.labels("val")
        views = [bank.features(tap, "train", view=view) for view in range(1, bank.views + 1)]
        X, X_val = bank.features(tap, "train"), bank.features(tap, "val")
        return cls(tap, X, y, X_val, y_val, len(bank.classes), views)

    @cached_property
    def shared(self) -> Shared:
        """What the heads on these images compute once."""
        return Shared(self.X, self.y)

    def unseen(self, names: Sequence[str]) -> list[str]:
        """Returns the names of the classes that are validated but have no training image."""
        return [names[label] for label in np.setdiff1d(self.y_val, self.y)]


def check_splits(bank: Bank) -> None:
    """Looks whether heads can be trained and validated on a bank's own split.

    Raises:
        DatasetError: a split is empty, or the training images have one class only.
    """
    y, y_val = bank.labels("train"), bank.labels("val")
    for name, labels in (("training", y), ("validation", y_val)):
        if not len(labels):
            message = (
                f"'{bank.name}' has no {name} images among its {len(bank)}: extract again with another --split, "
                "as --split .7,.15,.15, or with more images"
            )
            raise DatasetError(message)
    if len(np.unique(y)) < 2:  # noqa: PLR2004 - a classifier needs two
        message = (
            f"all {len(y)} training images are of class '{bank.classes[int(y[0])]}': a head needs two classes or "
            "more; check the labels, or extract again with another --split"
        )
        raise DatasetError(message)


class Scores(dict[str, dict[str, Any]]):
    """The metrics of a head by split, as a run's record holds them."""

    right: str
    """See `Run.right`."""


@dataclass(frozen=True)
class Fitted:
    """What came of one head."""

    head: Any
    seconds: float
    together: int
    metrics: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    failure: str | None = None

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
    """Trains heads: neural ones of a family together, the others side by side, each on one thread.

    A head that fails is told like the others.

    Args:
        specs: specification and seed of each; all of the tap of `data`.
        data: what they are trained and scored on.
        on_fitted: takes the results, one by one, in the thread that called.
    """
    on_fitted = _calibrating(specs, data, on_fitted)
    specs = [(replace(spec, params=uncalibrated(spec.params)), seed) for spec, seed in specs]
    neural = [i for i, (spec, _) in enumerate(specs) if is_neural(spec.kind)]
    alone = [i for i in range(len(specs)) if i not in set(neural)]
    if alone:
        _fit_side_by_side([specs[i] for i in alone], data, lambda i, fitted: on_fitted(alone[i], fitted))
    if neural:
        with limited_blas():
            _fit_together([specs[i] for i in neural], data, lambda i, fitted: on_fitted(neural[i], fitted))


def align(probabilities: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Returns probabilities over all classes (n, classes), 0 for those that the head has not seen."""
    aligned = np.zeros((len(probabilities), classes), np.float64)
    aligned[:, present] = probabilities
    return aligned


def _fit_side_by_side(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    with side_by_side() as count, _collected_warnings() as caught:
        heads = {i: make_head(spec.kind, spec.params, random_state=seed) for i, (spec, seed) in enumerate(specs)}
        pool, work = ThreadPoolExecutor(count, thread_name_prefix="featurebank-heads"), _Work(data, caught)
        try:
            for piece in _pieces(heads):  # popped: a head that is told need not stay in memory
                pool.submit(work.do, {position: heads.pop(position) for position in piece})
            for _ in specs:
                on_fitted(*work.told.get())
        finally:
            work.stopped.set()
            pool.shutdown(cancel_futures=True)


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
                self.told.put((position, Fitted(head, 0.0, together, {}, (), _one_line(error))))

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
                return Fitted(head, seconds, together, _scores(head, self.data), notes)
        except Exception as refused:  # noqa: BLE001 - as above
            error = refused
        return Fitted(head, seconds, together, {}, (), _one_line(error))


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
    from featurebank.heads.joined import train_together

    heads = [make_head(spec.kind, spec.params, random_state=seed) for spec, seed in specs]

    def take(position: int, failure: str | None, seconds: float, together: int) -> None:
        found: dict[str, dict[str, Any]] = {}
        if not failure:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # a failure, told below
                    found = _scores(heads[position], data)
            except HeadError as error:
                failure = str(error)  # its training went well, its answers did not
        on_fitted(position, Fitted(heads[position], seconds, together, found, (), failure))

    train_together(heads, data.X, data.y, (data.X_val, data.y_val), views=data.views, on_trained=take)


def _scores(head: Any, data: TrainingData) -> Scores:
    X, y = data.X[:SCORED_TRAINING_ROWS], data.y[:SCORED_TRAINING_ROWS]
    train, val = head.predict_proba(X), _validated(head, data)
    if not (np.isfinite(train).all() and np.isfinite(val).all()):
        message = "its probabilities are not finite"
        raise HeadError(message)
    train, val = (align(found, head.classes_, data.classes) for found in (train, val))
    scores = metrics.scores(val, data.y_val)
    scores["accuracy_interval"] = list(metrics.proportion_interval(scores["accuracy"], len(val)))
    found = Scores(train=metrics.short_scores(train, y), val=scores)
    found.right = pack(val.argmax(axis=1) == data.y_val)
    return found


def _validated(head: Any, data: TrainingData) -> np.ndarray:
    apart = isinstance(head, CalibratedHead)  # it has seen the validation images
    return np.asarray(head.predict_apart(data.X_val, data.y_val) if apart else head.predict_proba(data.X_val))


def _calibrating(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> OnFitted:
    """Returns what takes heads that were trained plain and gives those on that are to be calibrated, calibrated."""

    def take(position: int, fitted: Fitted) -> None:
        spec, seed = specs[position]
        if is_calibrated(spec.params) and not fitted.failure:
            began = time.perf_counter()
            try:
                head = make_head(spec.kind, spec.params, random_state=seed).take(fitted.head, (data.X_val, data.y_val))
                found = {"head": head, "metrics": _scores(head, data)}
            except Exception as error:  # noqa: BLE001 - as in `_fit_alone`
                found = {"metrics": {}, "failure": _one_line(error)}
            fitted = replace(fitted, **found, seconds=fitted.seconds + time.perf_counter() - began)
        on_fitted(position, fitted)

    return take


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, FeatureBankError | Warning) else f"{type(error).__name__}: {text}"
