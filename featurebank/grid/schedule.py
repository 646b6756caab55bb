"""Pieces of work, how long they will take, and what still fits into a budget.

A piece is what is trained by one call: the neural heads of one program, or some others side by side. Between pieces a
grid can be stopped, runs are claimed and the clock is looked at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from featurebank.grid.jobs import Job
from featurebank.heads.catalog import family_of, is_neural, make_head, uncalibrated
from featurebank.heads.data import TrainingData
from featurebank.heads.families import nanoseconds, programs
from featurebank.heads.fitting import Fitted
from featurebank.heads.runs import HeadSpec
from featurebank.runtime import threads

_SIDE_BY_SIDE = 32
"""How many heads that are no neural ones make a piece."""
_MOST_ROUNDS = 10**9
"""That a guess reckons with, whatever a grid says."""
_SECONDS_A_UNIT = 1e-9
"""Of a kind that has not been measured yet; see `_units`."""
_STARTUP_S = 5.0
"""What the first piece of neural heads takes beside training: TensorFlow is imported, a program compiled."""
_OVER = 1.05
"""A budget may be exceeded by a tenth; half of it is left for what is at work then, an epoch or a fit."""


@dataclass
class Clock:
    """A budget of seconds, counted from when it is made; None has no end."""

    budget: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until a twentieth more than the budget has passed."""
        if self.budget is None:
            return float("inf")
        return _OVER * self.budget - (time.monotonic() - self.began)


class Speed:
    """How fast each kind of head is trained here, learnt from those that were; of both, the newest counts for half."""

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}
        self._beside = {True: _STARTUP_S, False: 0.0}
        """Seconds beside training: of a piece of neural heads, and of each other head."""

    def seconds(self, jobs: Sequence[Job], data: TrainingData) -> float:
        """Returns how long a piece will take."""
        total = sum(_units(job.trained, data) * self._rates.get(job.spec.kind, _SECONDS_A_UNIT) for job in jobs)
        if is_neural(jobs[0].spec.kind):
            return total + self._beside[True]
        return total / min(threads(), len(jobs)) + self._beside[False] * len(jobs)

    def next(self, pieces: Sequence[Sequence[Job]], data: TrainingData) -> int:
        """Returns the position of the piece whose heads take the least time each."""
        return min(range(len(pieces)), key=lambda i: self.seconds(pieces[i], data) / len(pieces[i]))

    def fitting(self, jobs: Sequence[Job], data: TrainingData, left: float) -> list[Job]:
        """Returns the first of a piece's jobs that end within so many seconds; of an unknown speed, a few."""
        if left == float("inf"):
            return list(jobs)
        count = self._tried(jobs)
        while count and self.seconds(jobs[:count], data) > left:
            count -= 1
        return list(jobs[:count])

    def learn(self, jobs: Sequence[Job], data: TrainingData, told: dict[int, Fitted], seconds: float) -> None:
        """Takes what the heads of a piece took, and what the piece took in all."""
        found: dict[str, list[float]] = {}
        for position, fitted in told.items():
            kind = jobs[position].spec.kind
            found.setdefault(kind, []).append(fitted.seconds / _units(jobs[position].trained, data))
        for kind, rates in found.items():
            rate = sum(rates) / len(rates)
            self._rates[kind] = (rate + self._rates.get(kind, rate)) / 2
        neural = is_neural(jobs[0].spec.kind)
        training = sum(fitted.seconds for fitted in told.values())
        beside = max(0.0, seconds - training / (1 if neural else min(threads(), len(jobs))))
        self._beside[neural] = (self._beside[neural] + (beside if neural else beside / len(jobs))) / 2

    def _tried(self, jobs: Sequence[Job]) -> int:
        """Returns how many of a piece are begun at most: of a kind that is not known, one for each thread."""
        unknown = [position for position, job in enumerate(jobs) if job.spec.kind not in self._rates]
        return len(jobs) if len(unknown) <= threads() else unknown[threads()]


def make_pieces(jobs: Sequence[Job], data: TrainingData) -> list[list[Job]]:
    """Returns the pieces of some jobs on the same images; the cheapest of each piece first.

    Heads of one kind stay together, because they share what they compute of the images.
    """
    guess = Speed()
    kinds: dict[str, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: guess.seconds([job], data)):
        kinds.setdefault(job.spec.kind, []).append(job)
    in_turn = [job for kind, family in kinds.items() if not is_neural(kind) for job in family]
    pieces = [in_turn[start : start + _SIDE_BY_SIDE] for start in range(0, len(in_turn), _SIDE_BY_SIDE)]
    families: dict[str, list[Job]] = {}
    for job in jobs:
        if family := family_of(job.spec.kind):
            families.setdefault(family, []).append(job)
    return [*pieces, *(piece for family, members in families.items() for piece in _programs(family, members, data))]


def _programs(family: str, jobs: Sequence[Job], data: TrainingData) -> Iterable[list[Job]]:
    heads = [make_head(job.trained.kind, uncalibrated(job.trained.params), random_state=job.seed) for job in jobs]
    found = programs(family, heads, data.shape, data.classes, len(data.y))
    return [[jobs[i] for i in positions] for positions in found]


def _units(spec: HeadSpec, data: TrainingData) -> float:
    """Returns about how many nanoseconds the training of a head takes on one core of a common machine.

    Only a first guess, and only to the nearest power of ten: what counts is measured.
    """
    n, classes = len(data.y), data.classes
    params: dict[str, Any] = dict(spec.params)
    width = math.prod(data.shape)
    d = min(width, int(params.get("pca") or width))
    rounds = float(min(params.get("n_estimators") or params.get("max_iter") or 100, _MOST_ROUNDS))
    if family := family_of(spec.kind):
        return n * float(params.get("epochs") or 100) * nanoseconds(family, params, data.shape, classes)
    if "tree" in spec.kind.lower() or "forest" in spec.kind.lower():
        return float(5 * rounds * n * d**0.5 * math.log2(n + 1) ** 2)
    if "xgboost" in spec.kind:
        return float(2 * rounds * n * d * classes)
    costs = {
        "knn": n * d * len(data.y_val) / 100,
        "nearest_mean": n * d,
        "ridge": n * d * min(n, d) / 20,
        "lda": n * d * min(n, d) / 10,
        "svm": n * n * (d / 10 + 100),
        "kernel_ridge": n * n * (d / 10 + 100),
        "logistic": 100 * n * d,
    }
    return float(costs.get(spec.kind, rounds * n * d))
