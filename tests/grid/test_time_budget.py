"""Pieces of work, their expected time, and what fits into what is left of a budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from featurebank.bank import Bank
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fitted import Fitted
from featurebank.grid import expand
from featurebank.grid.jobs import Job, plan
from featurebank.grid.options import GridOptions
from featurebank.grid.time_budget import Clock, Speed, make_pieces

GRID: list[dict[str, Any]] = [
    {"kind": "mlp", "hidden_units": 32},
    *({"kind": "random_forest", "n_estimators": n} for n in (200, 50, 100)),
    *({"kind": "knn", "n_neighbors": n} for n in range(1, 41)),
    *({"kind": "softmax", "learning_rate": rate} for rate in (0.1, 0.2)),
    {"kind": "nearest_mean"},
]


@pytest.fixture
def data(make_bank: Callable[..., Bank]) -> TrainingData:
    return TrainingData.of(make_bank(), "pooled")


@pytest.fixture
def jobs(make_bank: Callable[..., Bank]) -> list[Job]:
    bank = make_bank("jobs")
    return plan(expand(GRID, bank), GridOptions(), bank)


def fitted(seconds: float) -> Fitted:
    return Fitted(None, seconds, 1, {}, ())


def test_pieces_are_all_jobs_once_and_each_of_one_sort(jobs: list[Job], data: TrainingData) -> None:
    pieces = make_pieces(jobs, data)
    assert sorted(job.run for piece in pieces for job in piece) == sorted(job.run for job in jobs)
    kinds = [{job.spec.kind for job in piece} for piece in pieces]
    for found in kinds:
        assert found in ({"mlp"}, {"softmax"}) or not found & {"mlp", "softmax"}
    assert max(map(len, pieces)) <= 32
    together = [job.spec.kind for piece in pieces for job in piece]
    forests = [i for i, kind in enumerate(together) if kind == "random_forest"]
    assert forests == list(range(forests[0], forests[0] + 3)), "a kind stays together"


def test_the_cheap_come_first(jobs: list[Job], data: TrainingData) -> None:
    speed, pieces = Speed(), make_pieces(jobs, data)
    order = []
    while pieces:
        order.append(pieces.pop(speed.next(pieces, data)))
    costs = [speed.seconds(piece, data) / len(piece) for piece in order]
    assert costs == sorted(costs)
    forests = [job.spec.params["n_estimators"] for piece in order for job in piece if job.spec.kind == "random_forest"]
    assert forests == [50, 100, 200]


def test_speed_is_learnt(jobs: list[Job], data: TrainingData) -> None:
    speed = Speed()
    forests = [job for job in jobs if job.spec.kind == "random_forest"]
    sizes = [job.spec.params["n_estimators"] for job in forests]
    for _ in range(5):
        told = {i: fitted(size / 100) for i, size in enumerate(sizes)}
        speed.learn(forests, data, told, sum(sizes) / 100)
    for job, size in zip(forests, sizes, strict=True):
        assert speed.seconds([job], data) == pytest.approx(size / 100, rel=0.1)


def test_what_is_spent_beside_training_is_learnt(jobs: list[Job], data: TrainingData) -> None:
    speed = Speed()
    softmax = [job for job in jobs if job.spec.kind == "softmax"]
    first = speed.seconds(softmax, data)
    assert first >= 5, "TensorFlow is imported first"
    for _ in range(10):
        speed.learn(softmax, data, {0: fitted(0.1), 1: fitted(0.1)}, 0.3)
    assert speed.seconds(softmax, data) == pytest.approx(0.3, rel=0.1)


def test_what_fits_into_what_is_left(jobs: list[Job], data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    speed = Speed()
    knn = [job for job in jobs if job.spec.kind == "knn"]
    assert speed.fitting(knn, data, float("inf")) == knn
    monkeypatch.setattr("featurebank.system.runtime._threads", 2)
    assert speed.fitting(knn, data, 1e9) == knn[:2], "of a speed that is not known, one for each thread"
    monkeypatch.setattr("featurebank.system.runtime._threads", 1)
    one = speed.seconds(knn[:1], data)
    assert speed.fitting(knn, data, one * 0.9) == []
    assert speed.fitting(knn, data, one * 1.1) == knn[:1]
    for _ in range(10):
        speed.learn(knn, data, {i: fitted(1.0) for i in range(40)}, 40.0)
    assert len(speed.fitting(knn, data, 20.5)) == 20
    forests = [job for job in jobs if job.spec.kind == "random_forest"]
    assert speed.fitting([*knn[:3], *forests], data, 1e9) == [*knn[:3], forests[0]]


def test_a_clock_without_a_budget_never_ends() -> None:
    assert Clock().left == float("inf")
    clock = Clock(1.0, began=time.monotonic() - 1.01)
    assert 0 < clock.left < 0.05
    assert Clock(1.0, began=time.monotonic() - 1.2).left < 0
