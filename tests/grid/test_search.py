"""Search: samples that do not change, and races that stop who is behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from grids import kept
from listener import Listener

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.grid import expand
from featurebank.grid.jobs import plan
from featurebank.grid.options import GridOptions
from featurebank.grid.search import racers, rung_jobs, sample
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

KNN = [{"kind": "knn", "n_neighbors": n} for n in range(1, 31)]
RATES = [1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.2, 0.3, 1.0]
SOFTMAX: list[dict[str, Any]] = [{"kind": "softmax", "learning_rate": rate, "epochs": 9} for rate in RATES]


def test_a_sample_is_the_same_every_time_and_grows(make_bank: Callable[..., Bank]) -> None:
    specs = expand(KNN, make_bank())
    ten = sample(specs, 10)
    assert len({spec.key for spec in ten}) == 10
    assert sorted(spec.key for spec in sample(specs[::-1], 10)) == sorted(spec.key for spec in ten)
    assert {spec.key for spec in ten} < {spec.key for spec in sample(specs, 20)}
    assert sample(specs, 99) == specs
    assert ten != specs[:10]


def test_a_random_search_goes_on_with_its_sample(
    make_bank: Callable[..., Bank], trained: list[tuple[Any, int]]
) -> None:
    bank = make_bank(noise=4.0)
    first = train_heads(bank, KNN, search="random", runs=5)
    assert (len(first), len(trained)) == (5, 5)
    assert train_heads(bank, KNN, search="random", runs=5) == first
    assert len(train_heads(bank, KNN, search="random", runs=8)) == 8
    assert len(trained) == 8


def test_who_races(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    specs = expand([*SOFTMAX, {"kind": "softmax", "epochs": 8}, {"kind": "knn"}], bank)
    assert racers(specs) == specs[:9]
    assert racers(specs[:2]) == [], "two are no race"
    for number, epochs in ((1, 1), (2, 3)):
        jobs = rung_jobs(plan(specs[:9], GridOptions(folds=2), bank), number, bank)
        assert {job.trained.params["epochs"] for job in jobs} == {epochs}
        assert {job.spec.params["epochs"] for job in jobs} == {9}
        assert len({job.run for job in jobs}) == 18


def test_a_race_stops_who_is_behind(make_bank: Callable[..., Bank], trained: list[tuple[Any, int]]) -> None:
    bank, listener = make_bank(noise=3.0), Listener()
    runs = train_heads(bank, [*SOFTMAX, {"kind": "knn"}], search="halving", reporter=listener)
    epochs = [spec.params["epochs"] for spec, _ in trained if spec.kind == "softmax"]
    assert epochs == [1] * 9 + [3] * 3 + [9]
    assert [(run.rung, run.failure) for run in runs] == [(None, None)] * 2 + [((2, 3, 3), None)] * 2 + [
        ((1, 3, 1), None)
    ] * 6
    assert runs[-1].stopped == "stopped at rung 1 of 3, after 1 epoch"
    assert {run.params["learning_rate"] for run in runs if run.head == "softmax"} == set(RATES)
    assert "rung 1 of 3: 3 of 9 heads continue" in listener.said
    best = next(run for run in runs if run.head == "softmax")
    losers = [run for run in runs if run.rung and run.rung[0] == 1]
    assert best.metrics["val"]["accuracy"] > max(run.metrics["val"]["accuracy"] for run in losers)
    assert kept(bank) == {runs[0].run}
    assert sorted(run.run for run in load_runs(bank)) == sorted(run.run for run in runs), "each head has one row"
    assert len(load_runs(bank, overtaken=True)) == len(runs) + 3 + 1


def test_a_race_repeats_nothing_and_its_losers_can_still_be_trained(
    make_bank: Callable[..., Bank], trained: list[tuple[Any, int]]
) -> None:
    bank = make_bank(noise=3.0)
    first = train_heads(bank, SOFTMAX, search="halving", seeds=2)
    count = len(trained)
    assert count == 2 * (9 + 3 + 1)
    assert train_heads(bank, SOFTMAX, search="halving", seeds=2) == first
    assert len(trained) == count
    whole = train_heads(bank, SOFTMAX, seeds=2)
    assert len(trained) == count + 2 * 8
    assert len(whole) == 18
    assert not any(run.rung for run in load_runs(bank))


def test_a_head_that_fails_in_a_race_is_a_row_and_does_not_go_on(make_bank: Callable[..., Bank]) -> None:
    grid: list[dict[str, Any]] = [
        {"kind": "mlp", "hidden_units": 4, "epochs": 9, "learning_rate": rate} for rate in (1e30, 0.01, 0.02)
    ]
    runs = train_heads(make_bank(), grid, search="halving")
    assert [(bool(run.failure), run.rung is None) for run in runs] == [(False, True), (False, False), (True, False)]
    assert "diverged" in str(runs[-1].failure)


def test_a_race_on_folds(make_bank: Callable[..., Bank]) -> None:
    runs = train_heads(make_bank(noise=3.0), SOFTMAX[3:6], search="halving", folds=2)
    assert runs[0].fold is None
    assert runs[0].rung is None
    assert [run.rung for run in runs[1:3]] == [None, None]
    assert {run.spec.key for run in runs[:3]} == {runs[0].spec.key}
    assert [run.rung for run in runs[3:]] == [(1, 3, 1)] * 4


@pytest.mark.parametrize("search", ["random", "halving"])
def test_no_race_and_a_large_sample_are_all(make_bank: Callable[..., Bank], search: str) -> None:
    more: dict[str, Any] = {"runs": 99} if search == "random" else {}
    assert len(train_heads(make_bank(), KNN[:4], search=search, **more)) == 4
