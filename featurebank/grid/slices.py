"""Cuts planned jobs into slices for several workers, without reading a feature.

A slice holds jobs on one tap and fold that one worker trains. It is a piece of `time_budget`, so that a worker trains
the same heads together as one process would: heads of a regularization path one after another, and heads with epochs in
one program. A large piece is cut between paths. A program is cut only if it would take longer than a fair share of all
work, because heads in one program share most of their steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from featurebank.bank import Bank
from featurebank.fitting.folds import Fold, fold_positions
from featurebank.fitting.joined.rows import feature_rows
from featurebank.fitting.parallel import tasks_of
from featurebank.grid.jobs import Job
from featurebank.grid.time_budget import make_pieces, predicted_cost

_SLICES_A_WORKER = 4
"""Workers that end early take over slices of others."""
_LEAST_COST = 2e8
"""The estimated nanoseconds below which a slice is not worth its task."""
_LEAST_PROGRAM = 8
"""The number of heads with epochs below which a program is not cut."""


@dataclass(frozen=True)
class Slice:
    """Jobs that one worker trains."""

    jobs: tuple[Job, ...]
    cost: float
    """The estimated training time in nanoseconds, in one thread."""

    @property
    def place(self) -> tuple[str, Fold | None]:
        """The tap and the fold; a worker keeps the features of the last one."""
        return self.jobs[0].spec.tap, self.jobs[0].fold

    @property
    def size(self) -> int:
        """The estimated training time in whole milliseconds, in one thread."""
        return max(1, round(self.cost / 1e6))

    @property
    def is_neural(self) -> bool:
        """Whether the heads have epochs."""
        return self.jobs[0].spec.head_kind.is_neural

    def halves(self) -> list[Slice]:
        """Returns two slices with half of the jobs each; the slice alone if it has one job."""
        middle = (len(self.jobs) + 1) // 2
        return [Slice(jobs, self.cost / 2) for jobs in (self.jobs[:middle], self.jobs[middle:]) if jobs]


@dataclass(frozen=True)
class PlannedData:
    """The sizes and labels of training data whose features are not read; see `TrainingData`."""

    bank: Bank
    tap: str
    fold: Fold | None
    sample: int | None = None
    """The number of training images; None for all."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's features."""
        return feature_rows(self.bank, self.tap).tap_shape(self.tap)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.bank.classes)

    @cached_property
    def y(self) -> np.ndarray:
        """The labels of the training images."""
        return self._labels("train", inside=False)[: self.sample]

    @cached_property
    def y_val(self) -> np.ndarray:
        """The labels of the validation images."""
        return self._labels("val", inside=True)

    def _labels(self, split: str, *, inside: bool) -> np.ndarray:
        if self.fold is None:
            return self.bank.labels(split)
        return np.asarray(self.bank.labels()[fold_positions(self.bank, self.fold, inside=inside)])


def cut(jobs: Sequence[Job], bank: Bank, workers: int) -> list[Slice]:
    """Cuts jobs into slices: enough of them that all workers end at about the same time.

    Args:
        jobs: the planned jobs.
        bank: the bank.
        workers: the number of workers.

    Returns:
        The slices; those of the smallest tap come first, as one process trains them.
    """
    places: dict[tuple[str, Fold | None], list[Job]] = {}
    for job in sorted(jobs, key=lambda job: feature_rows(bank, job.spec.tap).tap_bytes(job.spec.tap)):
        places.setdefault((job.spec.tap, job.fold), []).append(job)
    pieces = []
    for (tap, fold), group in places.items():
        data = PlannedData(bank, tap, fold, group[0].spec.sample)  # one call has one sample
        for piece in make_pieces(group, data):
            pieces.append([(job, predicted_cost(job, data)) for job in piece])
    share = sum(cost for piece in pieces for _, cost in piece) / max(1, workers)
    return [part for piece in pieces for part in _parts(piece, share)]


def _parts(piece: Sequence[tuple[Job, float]], share: float) -> Iterator[Slice]:
    """Yields the slices of a piece; `share` is a fair share of all work."""
    costs, jobs = dict(enumerate(cost for _, cost in piece)), [job for job, _ in piece]
    total = sum(costs.values())
    if jobs[0].spec.head_kind.is_neural:
        count = min(math.ceil(total / share), max(1, len(jobs) // _LEAST_PROGRAM)) if share else 1
        tasks = [part.tolist() for part in np.array_split(np.arange(len(jobs)), count)]
        most = 0.0
    else:
        tasks = tasks_of({place: job.trained.uncalibrated().make(job.seed) for place, job in enumerate(jobs)})
        most = max(share / _SLICES_A_WORKER, _LEAST_COST)
    members: list[int] = []
    for task in tasks:
        if members and sum(costs[place] for place in [*members, *task]) > most:
            yield _slice(jobs, costs, members)
            members = []
        members += task
    yield _slice(jobs, costs, members)


def _slice(jobs: Sequence[Job], costs: dict[int, float], places: Sequence[int]) -> Slice:
    return Slice(tuple(jobs[place] for place in places), sum(costs[place] for place in places))
