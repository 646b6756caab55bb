"""Pieces of work, how long they will take, and what still fits into a budget.

A piece is what is trained by one call: the neural heads of one program, or some others side by side. Between pieces a
grid can be stopped, runs are claimed and the clock is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from featurebank.grid.jobs import Job
from featurebank.heads.catalog import is_neural, make_head
from featurebank.heads.fitting import Fitted, TrainingData
from featurebank.heads.runs import HeadSpec
from featurebank.runtime import threads

_SIDE_BY_SIDE = 32
"""How many heads that are no neural ones make a piece."""
_SECONDS_A_UNIT = 5e-10
"""Of a kind that has not been measured yet: 2e9 multiplications a second."""
_OVER = 1.1
"""A budget may be exceeded by a tenth."""
_PROBE = 0.25
"""Share of what is left of a budget for the first heads of a kind whose speed is not known."""


@dataclass
class Clock:
    """A budget of seconds, counted from when it is made; None has no end."""

    budget: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until a tenth more than the budget has passed."""
        if self.budget is None:
            return float("inf")
        return _OVER * self.budget - (time.monotonic() - self.began)


class Speed:
    """How fast each kind of head is trained here, learnt from those that were."""

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}
        self._overhead = 1.0

    def seconds(self, jobs: Sequence[Job], data: TrainingData) -> float:
        """Returns how long a piece will take."""
        total = sum(_units(job.trained, data) * self._rates.get(job.spec.kind, _SECONDS_A_UNIT) for job in jobs)
        return self._overhead * total / (1 if is_neural(jobs[0].spec.kind) else min(threads(), len(jobs)))

    def fitting(self, jobs: Sequence[Job], data: TrainingData, left: float) -> list[Job]:
        """Returns the first of a piece's jobs that end within so many seconds; of an unknown speed, a few."""
        if left == float("inf"):
            return list(jobs)
        known = all(job.spec.kind in self._rates for job in jobs)
        count = len(jobs)
        while count and self.seconds(jobs[:count], data) > left * (1 if known or count == 1 else _PROBE):
            count -= 1
        return list(jobs[:count])

    def learn(self, jobs: Sequence[Job], data: TrainingData, told: dict[int, Fitted], seconds: float) -> None:
        """Takes what the heads of a piece took, and what the piece took in all.

        The newest measurement counts for half: the first one has TensorFlow's import and compilation in it.
        """
        before: dict[str, list[float]] = {}
        for position, fitted in told.items():
            kind = jobs[position].spec.kind
            before.setdefault(kind, []).append(fitted.seconds / _units(jobs[position].trained, data))
        for kind, found in before.items():
            rate = sum(found) / len(found)
            self._rates[kind] = (rate + self._rates.get(kind, rate)) / 2
        expected = sum(fitted.seconds for fitted in told.values())
        if not is_neural(jobs[0].spec.kind):
            expected /= min(threads(), len(jobs))
        if expected > 0:
            self._overhead = (self._overhead + max(1.0, min(10.0, seconds / expected))) / 2


def make_pieces(jobs: Sequence[Job], data: TrainingData, speed: Speed) -> list[list[Job]]:
    """Returns the pieces of some jobs on the same images, those first whose heads take the least time.

    Heads of one kind stay together, because they share what they compute of the images.
    """
    neural = [job for job in jobs if is_neural(job.spec.kind)]
    others = [job for job in jobs if not is_neural(job.spec.kind)]
    kinds: dict[str, list[Job]] = {}
    for job in others:
        kinds.setdefault(job.spec.kind, []).append(job)
    families = sorted(kinds.values(), key=lambda family: speed.seconds(family, data))
    in_turn = [job for family in families for job in sorted(family, key=lambda job: speed.seconds([job], data))]
    pieces = [in_turn[start : start + _SIDE_BY_SIDE] for start in range(0, len(in_turn), _SIDE_BY_SIDE)]
    pieces += _programs(neural, data)
    return sorted(pieces, key=lambda piece: speed.seconds(piece, data) / len(piece))


def _programs(jobs: Sequence[Job], data: TrainingData) -> Iterable[list[Job]]:
    if not jobs:
        return []
    from featurebank.heads.trainer import _programs as programs

    heads = [make_head(job.trained.kind, job.trained.params, random_state=job.seed) for job in jobs]
    return [[jobs[i] for i in positions] for positions in programs(heads, _width(data), data.classes)]


def _width(data: TrainingData) -> int:
    return int(data.X[:1].size)


def _units(spec: HeadSpec, data: TrainingData) -> float:
    """Returns about how many multiplications the training of a head takes; only their proportions matter."""
    n, d, classes = len(data.y), _width(data), data.classes
    params: dict[str, Any] = dict(spec.params)
    if params.get("pca"):
        d = min(d, int(params["pca"]))
    if is_neural(spec.kind):
        hidden = params.get("hidden_units") or []
        sizes = [d, *(hidden if isinstance(hidden, list) else [hidden]), classes]
        return 6.0 * n * float(params.get("epochs") or 100) * sum(float((a + 1) * b) for a, b in pairwise(sizes))
    if spec.kind == "knn":
        return float(n * d * (len(data.y_val) + min(n, 10_000)))
    if spec.kind in {"ridge", "lda", "nearest_mean"}:
        return float(n * d * (1 if spec.kind == "nearest_mean" else min(n, d)))
    if spec.kind == "svm":
        return float(n * n * (d + 100))
    rounds = float(params.get("n_estimators") or params.get("max_iter") or 100)
    return rounds * n * d * (classes if "xgboost" in spec.kind else 1)
