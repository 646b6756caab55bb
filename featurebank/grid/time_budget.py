"""Divides jobs into pieces, predicts their duration, and selects those that fit into a time budget.

A piece is trained by one call: the neural heads of one program, or several other heads in parallel. Between pieces a
grid can stop, claim runs, and check the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from featurebank.fitting.fitted import Fitted
from featurebank.grid.jobs import Job
from featurebank.heads.kinds import Family
from featurebank.system.runtime import threads

_SIDE_BY_SIDE = 32
"""The number of non-neural heads in a piece."""
_SECONDS_A_UNIT = 1e-9
"""Seconds per unit of `Head.cost` for a kind that was not measured yet."""
_STARTUP_S = 5.0
"""Overhead of the first piece of neural heads: importing TensorFlow and compiling a program."""
_OVER = 1.05
"""A budget may be exceeded by a tenth; half of this is reserved for the work in progress, an epoch or a fit."""


class DataSizes(Protocol):
    """What training times depend on: `fitting.data.TrainingData`, or its sizes alone."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's features."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    @property
    def y(self) -> np.ndarray:
        """The labels of the training images."""

    @property
    def y_val(self) -> np.ndarray:
        """The labels of the validation images."""


@dataclass
class Clock:
    """A time budget in seconds, counted from the creation of the object; None is unlimited."""

    budget: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The seconds until the budget is exceeded by a twentieth."""
        if self.budget is None:
            return float("inf")
        return _OVER * self.budget - (time.monotonic() - self.began)

    @property
    def unspent(self) -> float:
        """The seconds of the budget that are not spent; negative if it is exceeded."""
        return float("inf") if self.budget is None else self.budget - (time.monotonic() - self.began)


class Speed:
    """Predicts training times from measured times of each kind of head; the latest measurement has weight one half."""

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}
        self._beside = {True: _STARTUP_S, False: 0.0}
        """Overhead in seconds: of a piece of neural heads, and of each other head."""

    def seconds(self, jobs: Sequence[Job], data: DataSizes) -> float:
        """Returns the predicted duration of a piece in seconds."""
        total = sum(predicted_cost(job, data) * self._rates.get(job.spec.kind, _SECONDS_A_UNIT) for job in jobs)
        if jobs[0].spec.head_kind.is_neural:
            return total + self._beside[True]
        return total / min(threads(), len(jobs)) + self._beside[False] * len(jobs)

    def next(self, pieces: Sequence[Sequence[Job]], data: DataSizes) -> int:
        """Returns the position of the piece with the least time per head."""
        return min(range(len(pieces)), key=lambda i: self.seconds(pieces[i], data) / len(pieces[i]))

    def fitting(self, jobs: Sequence[Job], data: DataSizes, left: float) -> list[Job]:
        """Returns the first jobs of a piece that will end within `left` seconds; only a few if the speed is unknown."""
        if left == float("inf"):
            return list(jobs)
        count = self._tried(jobs)
        while count and self.seconds(jobs[:count], data) > left:
            count -= 1
        return list(jobs[:count])

    def learn(self, jobs: Sequence[Job], data: DataSizes, results: dict[int, Fitted], seconds: float) -> None:
        """Updates the speeds with the times of the heads of a piece, and the total time of the piece."""
        rates_of_kinds: dict[str, list[float]] = {}
        for position, fitted in results.items():
            kind = jobs[position].spec.kind
            rates_of_kinds.setdefault(kind, []).append(fitted.seconds / predicted_cost(jobs[position], data))
        for kind, rates in rates_of_kinds.items():
            rate = sum(rates) / len(rates)
            self._rates[kind] = (rate + self._rates.get(kind, rate)) / 2
        neural = jobs[0].spec.head_kind.is_neural
        training = sum(fitted.seconds for fitted in results.values())
        beside = max(0.0, seconds - training / (1 if neural else min(threads(), len(jobs))))
        self._beside[neural] = (self._beside[neural] + (beside if neural else beside / len(jobs))) / 2

    def _tried(self, jobs: Sequence[Job]) -> int:
        """Returns the maximum number of jobs of a piece to start: for an unmeasured kind, one per thread."""
        unknown = [position for position, job in enumerate(jobs) if job.spec.kind not in self._rates]
        return len(jobs) if len(unknown) <= threads() else unknown[threads()]


def make_pieces(jobs: Sequence[Job], data: DataSizes) -> list[list[Job]]:
    """Divides jobs on the same images into pieces; the cheapest jobs of each piece come first.

    Heads of one kind stay together, because they share computations on the images.
    """
    speed = Speed()
    kinds: dict[str, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: speed.seconds([job], data)):
        kinds.setdefault(job.spec.kind, []).append(job)
    in_turn = [job for alike in kinds.values() if alike[0].spec.head_kind.family is None for job in alike]
    pieces = [in_turn[start : start + _SIDE_BY_SIDE] for start in range(0, len(in_turn), _SIDE_BY_SIDE)]
    families: dict[Family, list[Job]] = {}
    for job in jobs:
        if family := job.spec.head_kind.family:
            families.setdefault(family, []).append(job)
    return [*pieces, *(piece for members in families.values() for piece in _programs(members, data))]


def _programs(jobs: Sequence[Job], data: DataSizes) -> Iterable[list[Job]]:
    heads = [job.trained.uncalibrated().make(job.seed) for job in jobs]
    programs = heads[0].train_heads.programs(heads, data.shape, data.classes, len(data.y))
    return [[jobs[i] for i in positions] for positions in programs]


def predicted_cost(job: Job, data: DataSizes) -> float:
    """Returns the head's estimate of the training time of a job in nanoseconds."""
    return job.trained.cost(len(data.y), data.shape, data.classes, len(data.y_val))
