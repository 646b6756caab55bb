"""Hundreds of runs in one process take no more memory than the first fifty."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from forks import run

from featurebank.bank import Bank

pytestmark = pytest.mark.heavy

CHILD = """
import json, sys
from pathlib import Path
import psutil
from featurebank.bank import Bank
from featurebank import train_heads
from featurebank.grid import journal
from featurebank import set_threads

process, sizes = psutil.Process(), []

class Journal(journal.Journal):
    def record(self, *rest, **more):
        super().record(*rest, **more)
        sizes.append(process.memory_info().rss)

import featurebank.grid.stage
featurebank.grid.stage.Journal = Journal
set_threads(1)
bank, grid = Bank(Path(sys.argv[1])), json.loads(sys.argv[2])
found = train_heads(bank, grid, seeds=int(sys.argv[3]))
print(len(sizes), sizes[49], max(sizes[50:]), len(found))
"""


def measure(bank: Bank, grid: str, seeds: int) -> tuple[int, int, int, int]:
    done = run([sys.executable, "-c", CHILD, str(bank.path), grid, str(seeds)], timeout=500)
    assert done.returncode == 0, done.stderr
    count, first, most, found = map(int, done.stdout.split())
    return count, first, most, found


@pytest.mark.parametrize("runs", [200, pytest.param(500, marks=pytest.mark.slow)])
def test_hundreds_of_runs(make_bank: Callable[..., Bank], runs: int) -> None:
    bank = make_bank(splits=(200, 50, 50), width=128, noise=6.0)
    grid: list[dict[str, Any]] = [
        *({"kind": "sklearn.linear_model:RidgeClassifier", "alpha": n / 10} for n in range(1, runs // 2 + 1)),
        *({"kind": "sklearn.naive_bayes:GaussianNB", "var_smoothing": n / 1e9} for n in range(1, runs // 2 + 1)),
    ]
    count, first, most, found = measure(bank, json.dumps(grid), 1)
    assert count == found == runs
    assert most < first * 1.05


@pytest.mark.slow
def test_five_hundred_neural_runs(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(300, 100, 100), width=256, noise=6.0)
    grid = [{"kind": "softmax", "epochs": 3, "learning_rate": rate / 1000} for rate in range(1, 11)]
    count, first, most, found = measure(bank, json.dumps(grid), 50)
    assert count == found == 500
    assert most < first * 1.05
