"""Ctrl-C ends a grid at once, even where a library computes on in a thread for hours."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from forks import Fork
from processes import ended

from featurebank.bank import Bank
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy


def test_a_library_that_does_not_end(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    grid = bank.path.parent / "grid.toml"
    grid.write_text(
        '[[head]]\nkind = "knn"\n[[head]]\nkind = "random_forest"\nn_estimators = 200_000\n', encoding="utf-8"
    )
    words = ["heads", "--bank", str(bank.path), "--grid", str(grid)]
    process = Fork([sys.executable, "-m", "featurebank", *words], stderr=subprocess.PIPE, text=True)
    with ended(process):
        while not load_runs(bank):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.strip().endswith("interrupted: finished work is saved; run the same command again to continue")
    assert [run.head for run in load_runs(bank)] == ["knn"]
