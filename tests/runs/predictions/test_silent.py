"""Heads that say only a class are left out of rankings that need probabilities, and named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from listener import Listener
from silent_heads import Silent

import featurebank as fb
from featurebank.bank import Bank
from featurebank.errors import HeadError, HeadWarning
from featurebank.metrics import ACCURACY, METRICS
from featurebank.runs.predictions.silent import without_silent
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

GRID: list[Any] = ["ridge", Silent()]
LINE = r"'auroc' needs probabilities, so 1 run of heads .* is left out of this ranking: 'silent_heads:Silent'"


def test_a_ranking_that_needs_probabilities_names_whom_it_leaves_out(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make_bank(noise=4.0)
    runs = fb.train_heads(bank, GRID)
    with pytest.warns(HeadWarning, match=LINE):
        board = fb.leaderboard(bank, metric="auroc")
    assert [run.head for run in board] == ["ridge"]
    with pytest.warns(HeadWarning, match=LINE):
        assert fb.select(bank, metric="auroc").head == "ridge"
    assert {run.head for run in fb.leaderboard(bank, metric="macro_f1")} == {run.head for run in runs}
    silent = [run for run in runs if run.head != "ridge"]
    with pytest.raises(HeadError, match="needs probabilities, but all heads say only the class"):
        fb.select(silent, metric="log_loss")
    listener = Listener()
    monkeypatch.delitem(sys.modules, "silent_heads")  # a later process, whose user did not name the class
    found = without_silent(load_runs(bank), METRICS["auroc"], listener)
    assert [run.head for run in found] == ["ridge"]
    assert "silent_heads" not in sys.modules, "no file may say which code is run"
    assert len(listener.warned) == 1
    assert len(without_silent(load_runs(bank), ACCURACY, listener)) == 2


def test_a_leaderboard_of_several_banks_leaves_them_out_too(make_bank: Callable[..., Bank]) -> None:
    banks = [make_bank(noise=4.0), make_bank("other", noise=3.0)]
    fb.train_heads(banks[0], GRID)
    fb.train_heads(banks[1], ["ridge"])
    with pytest.warns(HeadWarning, match=LINE):
        assert [run.head for run in fb.leaderboard(banks, metric="auroc")] == ["ridge", "ridge"]
