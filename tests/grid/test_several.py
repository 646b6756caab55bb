"""One grid on several banks: what is left out where, one budget, and an interruption that loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from featurebank import select, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError
from featurebank.grid import GridOptions
from featurebank.grid.several import train_on_banks
from featurebank.grid.stage import in_this_process
from featurebank.runs.run import load_runs
from featurebank.system.progress import Reporter

MakeBank = Callable[..., Bank]


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def banks(make_bank: MakeBank) -> list[Bank]:
    """Two banks of the same images; the first has one tap more, the second clearer features."""
    return [
        make_bank("first", backbone="first", noise=6.0, taps=("pooled", "more")),
        make_bank("second", backbone="second", noise=1.0),
    ]


def test_the_same_runs_as_bank_by_bank_and_the_best_weights_are_kept(banks: list[Bank]) -> None:
    together = train_heads(banks, ["ridge", "nearest_mean"])
    assert {run.run for run in together} == {run.run for bank in banks for run in load_runs(bank)}
    assert len(together) == 4
    assert together[0].bank_name == "second"
    assert together[0].saved_path.is_file()
    assert [run.run for run in train_heads(banks[0], ["ridge", "nearest_mean"])] == [
        run.run for run in together if run.bank_name == "first"
    ]


def test_a_tap_that_one_bank_lacks_is_one_line_and_that_all_lack_is_an_error(banks: list[Bank]) -> None:
    reporter = Lines()
    runs = train_on_banks(
        banks, [{"kind": "ridge"}, {"kind": "nearest_mean"}], GridOptions(taps=["pooled", "more"]), reporter
    )
    assert len(runs) == 6
    left_out = [line for line in reporter.lines if "leaves out" in line]
    assert len(left_out) == 1
    assert left_out[0].startswith("'second' leaves out 2 heads: unknown tap 'more'")
    with pytest.raises(ConfigError, match="unknown tap 'most'"):
        train_heads(banks, "ridge", taps=["pooled", "most"])


def test_folds_end_with_the_best_head_on_its_banks_own_split(banks: list[Bank]) -> None:
    runs = train_heads(banks, ["ridge", "nearest_mean"], folds=3)
    assert (runs[0].folds, runs[0].bank_name) == (1, "second")
    assert [run.folds for run in runs] == [1, *[3] * 12, 1]
    assert select(runs) == runs[0]


def test_a_stopped_search_continues_on_the_bank_where_it_stopped(banks: list[Bank]) -> None:
    def stopped_at_the_second(bank: Bank, *rest: Any) -> Any:
        if bank is banks[1]:
            raise KeyboardInterrupt
        return in_this_process(bank, *rest)

    with pytest.raises(KeyboardInterrupt):
        train_on_banks(banks, [{"kind": "ridge"}], GridOptions(), make_runner=stopped_at_the_second)
    assert (len(load_runs(banks[0])), len(load_runs(banks[1]))) == (1, 0)
    reporter = Lines()
    assert len(train_on_banks(banks, [{"kind": "ridge"}], GridOptions(), reporter)) == 2
    assert [line for line in reporter.lines if "trained before" in line] == [
        "1 run: 1 trained before, 0 to train", "1 run: 0 trained before, 1 to train",
    ]  # fmt: skip


def test_each_bank_gets_its_part_of_the_budget(banks: list[Bank]) -> None:
    budgets: list[float] = []

    def noted(bank: Bank, journal: Any, clock: Any, *rest: Any) -> Any:
        budgets.append(clock.budget)
        return in_this_process(bank, journal, clock, *rest)

    train_on_banks(banks, [{"kind": "nearest_mean"}], GridOptions(budget=600), make_runner=noted)
    assert budgets[0] == pytest.approx(300, abs=1), "half of it"
    assert 300 < budgets[1] <= 600, "the rest"


def test_a_bank_whose_heads_all_fail_does_not_stop_the_others(banks: list[Bank]) -> None:
    reporter = Lines()
    grid = [{"kind": "knn", "n_neighbors": 10_000}, {"kind": "ridge", "tap": "more"}]
    runs = train_on_banks(banks, grid, GridOptions(), reporter)
    assert {run.bank_name for run in runs} == {"first"}
    assert any(line.startswith("'second': the only run failed") or "failed" in line for line in reporter.lines)
    with pytest.raises(HeadError, match="failed"):
        train_on_banks(banks, grid[:1], GridOptions(), reporter)
