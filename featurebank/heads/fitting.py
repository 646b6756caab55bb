"""Training heads on a bank's training images and scoring them on its validation images."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.bank import Bank
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.heads.catalog import is_neural, make_head
from featurebank.heads.runs import HeadSpec
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
        views = [bank.features(tap, "train", view=view) for view in range(1, bank.views + 1)]
        X, X_val = bank.features(tap, "train"), bank.features(tap, "val")
        return cls(tap, X, y, X_val, y_val, len(bank.classes), views)

    def unseen(self, names: Sequence[str]) -> list[str]:
        """Returns the names of the classes that are validated but have no training image."""
        return [names[label] for label in np.setdiff1d(self.y_val, self.y)]


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
        heads = [make_head(spec.kind, spec.params, random_state=seed) for spec, seed in specs]
        pool = ThreadPoolExecutor(count, thread_name_prefix="featurebank-heads")
        try:
            futures = {pool.submit(_fit_alone, head, data, caught): i for i, head in enumerate(heads)}
            for future in as_completed(list(futures)):
                on_fitted(futures.pop(future), future.result())  # popped: a head that is told need not stay in memory
        finally:
            pool.shutdown(cancel_futures=True)


def _fit_alone(head: Any, data: TrainingData, caught: _Caught) -> Fitted:
    caught.lines = set()
    began = time.perf_counter()
    try:
        head.fit(data.X, data.y, validation_data=(data.X_val, data.y_val))
        seconds = time.perf_counter() - began
        found = _scores(head, data)
    except Exception as error:  # noqa: BLE001 - whatever a library refuses is a result of this run; the grid goes on
        return Fitted(head, time.perf_counter() - began, 1, {}, (), _one_line(error))
    return Fitted(head, seconds, 1, found, tuple(sorted(caught.lines)))


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


def _scores(head: Any, data: TrainingData) -> dict[str, dict[str, Any]]:
    X, y = data.X[:SCORED_TRAINING_ROWS], data.y[:SCORED_TRAINING_ROWS]
    train = metrics.scores(align(head.predict_proba(X), head.classes_, data.classes), y)
    val = metrics.scores(align(head.predict_proba(data.X_val), head.classes_, data.classes), data.y_val)
    if not np.isfinite([*train.values(), *val.values()]).all():
        message = "its probabilities are not finite"
        raise HeadError(message)
    interval = list(metrics.proportion_interval(val["accuracy"], len(data.y_val)))
    return {"train": train, "val": {**val, "accuracy_interval": interval}}


def _one_line(error: object) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, FeatureBankError | Warning) else f"{type(error).__name__}: {text}"
