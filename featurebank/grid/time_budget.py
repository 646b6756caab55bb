"""Pieces of work, how long they will take, and what still fits into a budget.

A piece is what is trained by one call: the neural heads of one program, or some others side by side. Between pieces a
grid can be stopped, runs are claimed and the clock is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import Fitted
from featurebank.grid.jobs import Job
from featurebank.heads.families import Family
from featurebank.system.runtime import threads

_SIDE_BY_SIDE = 32
"""How many heads that are no neural ones make a piece."""
_SECONDS_A_UNIT = 1e-9
"""Of a kind that has not been measured yet: see `Head.cost`."""
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
        total = sum(_cost(job, data) * self._rates.get(job.spec.kind, _SECONDS_A_UNIT) for job in jobs)
        if jobs[0].spec.head_kind.is_neural:
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
            found.setdefault(kind, []).append(fitted.seconds / _cost(jobs[position], data))
        for kind, rates in found.items():
            rate = sum(rates) / len(rates)
            self._rates[kind] = (rate + self._rates.get(kind, rate)) / 2
        neural = jobs[0].spec.head_kind.is_neural
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
    in_turn = [job for alike in kinds.values() if alike[0].spec.head_kind.family is None for job in alike]
    pieces = [in_turn[start : start + _SIDE_BY_SIDE] for start in range(0, len(in_turn), _SIDE_BY_SIDE)]
    families: dict[Family, list[Job]] = {}
    for job in jobs:
        if family := job.spec.head_kind.family:
            families.setdefault(family, []).append(job)
    return [*pieces, *(piece for family, members in families.items() for piece in _programs(family, members, data))]


def _programs(family: Family, jobs: Sequence[Job], data: TrainingData) -> Iterable[list[Job]]:
    heads = [job.trained.uncalibrated().make(job.seed) for job in jobs]
    found = family.programs(heads, data.shape, data.classes, len(data.y))
    return [[jobs[i] for i in positions] for positions in found]


def _cost(job: Job, data: TrainingData) -> float:
    """Returns about how many nanoseconds a job's training takes, as its head says."""
    return job.trained.cost(len(data.y), data.shape, data.classes, len(data.y_val))
