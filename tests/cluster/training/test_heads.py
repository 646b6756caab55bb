"""Grids on a cluster: the runs of one process, each trained once, whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from forks import Fork
from grids import kept, records
from held_heads import noted
from listener import Listener

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.cluster import dispatch
from featurebank.errors import ClusterError, HeadError

pytestmark = pytest.mark.heavy

GRID: list[dict[str, Any]] = [
    *({"kind": "knn", "n_neighbors": n} for n in range(1, 8)),
    *({"kind": "ridge", "alpha": alpha} for alpha in (1.0, 10.0)),
    *({"kind": "logistic", "C": C} for C in (0.1, 1.0)),
    {"kind": "random_forest", "n_estimators": 3},
    {"kind": "knn", "n_neighbors": 1000},
]


def plain(bank: Bank) -> dict[str, dict[str, Any]]:
    """The records of a bank without times, and without which runs were the best so far when they were trained."""
    return {
        name: {key: value for key, value in record.items() if key not in {"seconds", "created", "weights"}}
        for name, record in records(bank).items()
    }


def held(log: Path, numbers: range, go: Path | None = None) -> list[dict[str, Any]]:
    return [
        {"kind": "held_heads:Noted", "log": str(log), "number": n, "go": str(go) if go else ""} for n in numbers
    ]  # fmt: skip


def wait_for_fits(log: Path, count: int) -> list[tuple[int, int]]:
    while len(found := noted(log)) < count:
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("options", [{"seeds": 2}, {"folds": 3, "repeats": 2}])
def test_the_runs_are_those_of_one_process(
    make_bank: Callable[..., Bank], scheduler: str, options: dict[str, Any]
) -> None:
    here, there = make_bank(noise=4.0), make_bank("there", noise=4.0)
    listener = Listener()
    expected = train_heads(here, GRID, **options)
    found = train_heads(there, GRID, cluster=scheduler, reporter=listener, **options)
    assert [run.run for run in found] == [run.run for run in expected]
    assert plain(there) == plain(here)
    assert kept(there) == kept(here) == {found[0].run}
    weights = [bank.path / "runs" / f"{found[0].run}.head" for bank in (there, here)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert listener.done == len(records(there))
    again = train_heads(there, GRID, cluster="tcp://127.0.0.1:1", **options)
    assert [run.run for run in again] == [run.run for run in expected], "nothing is left to train, so nobody is asked"


@pytest.mark.slow
def test_halving_trains_the_same_rounds(make_bank: Callable[..., Bank], scheduler: str) -> None:
    grid = [*({"kind": "softmax", "learning_rate": rate, "epochs": 9} for rate in (0.1, 0.2, 0.3, 0.4)), *GRID[:2]]
    here, there = make_bank(noise=4.0), make_bank("there", noise=4.0)
    expected = train_heads(here, grid, search="halving")
    found = train_heads(there, grid, search="halving", cluster=scheduler)
    assert [run.run for run in found] == [run.run for run in expected]
    accuracies = [[run.metrics["val"]["accuracy"] for run in runs] for runs in (found, expected)]
    assert accuracies[0] == accuracies[1]
    assert set(records(there)) == set(records(here))


def test_a_killed_worker_loses_nothing(make_bank: Callable[..., Bank], scheduler: str, tmp_path: Path) -> None:
    bank, log, go = make_bank(), tmp_path / "log", tmp_path / "go"
    with ThreadPoolExecutor(1) as pool:
        runs = pool.submit(train_heads, bank, held(log, range(6), go), cluster=scheduler)
        _, process = wait_for_fits(log, 1)[0]
        os.kill(process, signal.SIGKILL)
        go.touch()
        found = runs.result(timeout=120)
    assert [run.failure for run in found] == [None] * 6
    assert len(plain(bank)) == 6
    assert max(Counter(number for number, _ in noted(log)).values()) == 2, "what the dead worker had is fitted again"


@pytest.mark.slow
def test_a_head_that_ends_its_workers_is_a_failure_and_the_others_are_trained(
    make_bank: Callable[..., Bank], scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LONE_DEATHS", 1)
    bank = make_bank()
    found = train_heads(bank, [{"kind": "held_heads:Deadly"}, *GRID[:3]], cluster=scheduler)
    assert [bool(run.failure) for run in found] == [False] * 3 + [True]
    assert "it ended the worker" in str(found[3].failure)
    assert len(plain(bank)) == 3, "the next call tries again what ended its workers"


def test_two_clients_train_each_run_once(make_bank: Callable[..., Bank], scheduler: str, tmp_path: Path) -> None:
    bank, log = make_bank(), tmp_path / "log"
    grid = held(log, range(40))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(train_heads, bank, grid, cluster=where) for where in (scheduler, None)]
        one, other = (future.result(timeout=120) for future in both)
    assert [run.run for run in one] == [run.run for run in other]
    fits = Counter(number for number, _ in noted(log))
    assert set(fits) == set(range(40))
    assert sum(fits.values()) <= 41, "the weights of the best one may have been missing"


def test_a_killed_client_leaves_its_workers_free_and_the_same_command_continues(
    make_bank: Callable[..., Bank], scheduler: str, tmp_path: Path
) -> None:
    bank, log, go = make_bank(), tmp_path / "log", tmp_path / "go"
    code = (
        "import sys, featurebank as fb; "
        "fb.train_heads(fb.open_bank(sys.argv[1]), eval(sys.argv[2]), cluster=sys.argv[3], progress=False)"
    )
    grid = held(log, range(6), go)
    client = Fork([sys.executable, "-c", code, str(bank.path), repr(grid), scheduler])
    try:
        wait_for_fits(log, 1)
    finally:
        client.kill()
        client.wait()
    go.touch()
    found = train_heads(bank, grid, cluster=scheduler)
    assert [run.failure for run in found] == [None] * 6
    assert len(plain(bank)) == 6


def test_an_interruption_loses_nothing_that_was_finished(
    make_bank: Callable[..., Bank], scheduler: str, tmp_path: Path
) -> None:
    class Interrupting(Listener):
        def ranking(self, places: Any) -> None:
            raise KeyboardInterrupt

    bank, log = make_bank(), tmp_path / "log"
    grid = held(log, range(8))
    with pytest.raises(KeyboardInterrupt):
        train_heads(bank, grid, cluster=scheduler, reporter=Interrupting())
    assert records(bank)
    assert len(train_heads(bank, grid, cluster=scheduler)) == len(records(bank)) == 8


def test_failed_heads_are_tried_again_on_demand(make_bank: Callable[..., Bank], scheduler: str) -> None:
    bank, grid = make_bank(), GRID[-3:]
    first = train_heads(bank, grid, cluster=scheduler)
    assert [bool(run.failure) for run in first].count(True) == 1
    listener = Listener()
    train_heads(bank, grid, cluster=scheduler, retry_failed=True, reporter=listener)
    assert listener.done == 1


def test_a_budget_that_is_too_short_is_one_line(make_bank: Callable[..., Bank], scheduler: str) -> None:
    with pytest.raises(HeadError, match="is too short for any of the 13 runs"):
        train_heads(make_bank(), GRID, cluster=scheduler, budget=1e-6)


def test_heads_that_a_worker_cannot_import_are_refused_before_the_start(
    make_bank: Callable[..., Bank], scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("from sklearn.neighbors import NearestCentroid as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    bank = make_bank()
    with pytest.raises(ClusterError, match=r"worker .*'only_here:Mine' cannot be imported .*PYTHONPATH"):
        train_heads(bank, [{"kind": "only_here:Mine"}, {"kind": "knn"}], cluster=scheduler)
    assert not records(bank)
