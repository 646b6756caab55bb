"""Several processes on one grid, and processes that are killed: no run is made twice, and none is lost."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grids import kept, logged, records, start_partner

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.runs.ranking import ranked
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

GRID: list[dict[str, Any]] = [
    *({"kind": "knn", "n_neighbors": n} for n in range(1, 21)),
    *({"kind": "random_forest", "n_estimators": n} for n in range(1, 11)),
]


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told


def test_two_processes_at_once_do_each_run_once(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    bank, log = make_bank(noise=4.0), tmp_path / "log"
    some = [*GRID[:8], *GRID[-4:]]
    end(*(start_partner(bank, log, some, seeds=2, folds=2) for _ in range(2)))
    done = logged(log, "recorded")
    runs = Counter(run for _, run in done)
    assert set(runs.values()) == {1}
    assert len(runs) == 2 * (8 + 2 * 4) + 1  # on each fold, and the best one on the bank's own split
    assert set(runs) == set(records(bank))
    assert len({process for process, _ in done}) == 2, "both have trained"
    ends = logged(log, "ends")
    assert [line[1:] for line in ends] == [ends[0][1:]] * 2, "both return the same runs"
    assert kept(bank) == {ends[0][2]}


def wait_for(log: Path, what: str, count: int = 1, *, first: str = "") -> None:
    """Waits until processes have written so many lines of a kind into a log."""
    while sum(line[1].startswith(first) if first else True for line in logged(log, what)) < count:
        time.sleep(0.01)


def test_what_another_process_trains_is_waited_for(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    bank, log, hold = make_bank(noise=4.0), tmp_path / "log", tmp_path / "go"
    first = start_partner(bank, log, GRID[:3], hold=hold)
    wait_for(log, "recorded")
    second = start_partner(bank, log, GRID[:3], pause=0.0)
    wait_for(log, "said", first="waiting:")
    hold.touch()
    end(second, first)
    assert sorted(Counter(run for _, run in logged(log, "recorded")).values()) == [1, 1, 1]


def test_what_a_dead_process_has_claimed_is_trained(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    bank, log = make_bank(noise=4.0), tmp_path / "log"
    first = start_partner(bank, log, GRID[:3], hold=tmp_path / "never")
    wait_for(log, "recorded")
    second = start_partner(bank, log, GRID[:3], pause=0.0)
    wait_for(log, "said", first="waiting:")
    first.kill()
    first.communicate()
    end(second)
    assert set(Counter(run for _, run in logged(log, "recorded")).values()) == {1}
    assert len(records(bank)) == 3


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_a_process_killed_at_any_moment_goes_on_and_repeats_nothing(
    make_bank: Callable[..., Bank], tmp_path: Path, seed: int
) -> None:
    bank, log = make_bank(noise=4.0), tmp_path / "log"
    chance = random.Random(seed)
    kills = 0
    while True:
        before = len(logged(log, "recorded"))
        process = start_partner(bank, log, GRID, pause=0.02)
        if kills == 2:
            end(process)
            break
        while len(logged(log, "recorded")) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.15)
        process.kill()
        process.communicate()
        kills += 1
    runs = Counter(run for _, run in logged(log, "recorded"))
    assert set(runs.values()) == {1}
    found = {run.run: run for run in load_runs(bank)}
    assert len(found) == len(GRID)
    assert len(runs) >= len(GRID) - kills  # a process may die between a record and the line that tells it
    whole = train_heads(make_bank("whole", noise=4.0), GRID)
    assert {name: run.metrics for name, run in found.items()} == {run.run: run.metrics for run in whole}
    assert kept(bank) == {ranked(found.values())[0].run}
