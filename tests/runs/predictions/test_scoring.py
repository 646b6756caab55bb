"""Any metric of any run: from its record, from stored predictions, or from its head, trained again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from listener import Listener
from silent_heads import Silent

import featurebank as fb
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DiskFullError, UnknownNameError
from featurebank.metrics import ACCURACY, METRICS, ImageScores, Metric, metric_of
from featurebank.metrics.metric import averaged
from featurebank.runs.predictions.scoring import scored
from featurebank.runs.predictions.stored import load_predictions, predictions_path
from featurebank.runs.run import RunRecord, load_runs
from featurebank.runs.selection import ranked_runs

pytestmark = pytest.mark.heavy

GRID: list[Any] = [{"kind": "knn", "n_neighbors": [1, 3, 9]}, "ridge", "nearest_mean"]


def most_sure(images: ImageScores) -> np.ndarray:
    return images.confidence


MADE = averaged("made", most_sure, larger_is_better=False)
"""A metric that prefers the head that is least sure, so that it ranks unlike all others."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """One entry more in the table of metrics."""
    monkeypatch.setitem(METRICS, "made", MADE)
    return MADE


def strip(bank: Bank, *keys: str) -> None:
    """Makes the runs of a bank those of an earlier version, without stored predictions and some metrics."""
    for run in load_runs(bank):
        predictions_path(run).unlink(missing_ok=True)
        val = {name: value for name, value in run.metrics["val"].items() if name not in keys}
        replace(run, metrics={**run.metrics, "val": val}, weights=None).save()


def values(runs: list[RunRecord], metric: Metric) -> dict[str, float]:
    return {run.run: metric.recorded(run.metrics["val"]) for run in runs}


def test_one_entry_makes_a_metric_usable_everywhere(made: Metric, make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    runs = fb.train_heads(bank, GRID, metric="made")
    expected = sorted(runs, key=lambda run: run.metrics["val"]["made"])
    assert [run.run for run in runs] == [run.run for run in expected]
    assert runs[0].run != fb.train_heads(bank, GRID)[0].run, "the accuracy ranks otherwise"
    assert fb.select(bank, metric="made").run == runs[0].run
    board = fb.leaderboard(bank, metric=made)
    entry = board.entries[0]
    assert entry.value == runs[0].metrics["val"]["made"]
    assert entry.value_interval is not None
    assert entry.value_interval[0] < entry.value < entry.value_interval[1]
    assert board.entries[-1].p_value is not None


def test_halving_goes_by_the_metric(made: Metric, make_bank: Callable[..., Bank]) -> None:
    grid = [{"kind": "softmax", "learning_rate": [1e-4, 1e-2, 1.0], "epochs": 9}]
    by_accuracy, by_made = make_bank(noise=4.0), make_bank("other", noise=4.0, seed=1)
    slow = fb.train_heads(by_made, grid, search="halving", metric="made")
    fast = fb.train_heads(by_accuracy, grid, search="halving")
    assert slow[0].params["learning_rate"] == 1e-4, "which is least sure"
    assert fast[0].params["learning_rate"] != 1e-4


def test_older_runs_are_scored_from_their_stored_predictions(made: Metric, make_bank: Callable[..., Bank]) -> None:
    bank, listener = make_bank(noise=4.0), Listener()
    fb.train_heads(bank, GRID)
    runs = load_runs(bank)
    for run in runs:
        val = {name: value for name, value in run.metrics["val"].items() if name != "made"}
        replace(run, metrics={**run.metrics, "val": val}).save()
    found = scored(load_runs(bank), made, listener)
    for run in found:
        images = load_predictions(run)
        assert images is not None
        assert made.recorded(run.metrics["val"]) == made.of(images)
    assert listener.said == []


@pytest.mark.parametrize("folds", [None, 2])
def test_runs_without_stored_predictions_are_trained_again_once(
    make_bank: Callable[..., Bank], folds: int | None
) -> None:
    bank, listener, auroc = make_bank(noise=4.0), Listener(), METRICS["auroc"]
    fb.train_heads(bank, [*GRID, {"kind": "softmax", "epochs": 3}], folds=folds)
    before = values(load_runs(bank), auroc)
    strip(bank, "auroc")
    found = scored(load_runs(bank), auroc, listener)
    assert values(found, auroc) == pytest.approx(before, abs=1e-3)
    assert len(listener.said) == 1
    assert f"{len(before)} runs without stored predictions: scored again by 'auroc'" in listener.said[0]
    assert (listener.done, listener.total) == (len(before), len(before))
    again = Listener()
    assert values(scored(load_runs(bank), auroc, again), auroc) == values(found, auroc)
    assert again.said == []


@pytest.mark.parametrize("error", [DiskFullError("no space is left"), PermissionError("read-only")])
def test_where_nothing_can_be_written_the_values_are_known_all_the_same(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    bank, listener, auroc = make_bank(noise=4.0), Listener(), METRICS["auroc"]
    fb.train_heads(bank, GRID)
    before = values(load_runs(bank), auroc)
    strip(bank, "auroc")
    monkeypatch.setattr("featurebank.runs.predictions.scoring.save_predictions", Mock(side_effect=error))
    assert values(scored(load_runs(bank), auroc, listener), auroc) == pytest.approx(before, abs=1e-3)
    assert listener.warned == []


def test_what_follows_from_the_record_trains_nothing(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make_bank(noise=4.0)
    fb.train_heads(bank, GRID)
    strip(bank, "balanced_accuracy", "auroc", "average_precision")
    monkeypatch.setattr("featurebank.runs.predictions.scoring.fit_heads", lambda *_: pytest.fail("trained"))
    best = fb.select(bank, metric="balanced_accuracy")
    recalls = [np.mean(run.metrics["val"]["recall"]) for run in load_runs(bank)]
    assert np.mean(best.metrics["val"]["recall"]) == pytest.approx(max(recalls))
    name = bank.classes[1]
    assert fb.select(bank, metric=f"recall:{name}").metrics["val"]["recall"][1] == max(
        run.metrics["val"]["recall"][1] for run in load_runs(bank)
    )
    assert {"log_loss", "top5"} == {alias for alias in ("log_loss", "top5") if fb.select(bank, metric=alias)}


def test_costs_choose_another_head_than_the_accuracy(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    bank = make_bank(noise=4.0)
    runs = fb.train_heads(bank, GRID)
    costs = tmp_path / "costs.csv"
    size = len(bank.classes)
    rows = [[1 if j != i else 0 for j in range(size)] for i in range(size)]
    rows[0][1] = 50
    lines = [["", *bank.classes], *([name, *map(str, row)] for name, row in zip(bank.classes, rows, strict=True))]
    costs.write_text("\n".join(map(",".join, lines)))
    metric = metric_of(f"cost:{costs}", bank.classes)
    board = fb.leaderboard(bank, metric=f"cost:{costs}")
    found = [run.metrics["val"][metric.key] for run in board]
    assert found == sorted(found)
    assert len(board) == len(runs)


def test_a_run_that_cannot_be_scored_comes_last_with_one_warning(make_bank: Callable[..., Bank]) -> None:
    bank, listener = make_bank(noise=4.0), Listener()
    fb.train_heads(bank, GRID)
    strip(bank, "auroc")
    victim = load_runs(bank)[0]
    replace(victim, metrics={**victim.metrics, "val": {**victim.metrics["val"], "accuracy": 0.0}}).save()
    found = scored(load_runs(bank), METRICS["auroc"], listener)
    assert [run.run for run in found if "auroc" not in run.metrics["val"]] == [victim.run]
    (line,) = listener.warned
    assert "1 run cannot be scored by 'auroc'" in line


def test_a_metric_that_is_not_defined_trains_nothing(make_bank: Callable[..., Bank]) -> None:
    bank, listener = make_bank(splits=(60, 1, 30)), Listener()
    fb.train_heads(bank, GRID)
    found = scored(load_runs(bank), metric_of("recall:class2", bank.classes), listener)
    assert len(found) == len(load_runs(bank))
    assert listener.said == []
    (line,) = listener.warned
    assert "runs cannot be scored by 'recall:class2', so they come last" in line
    assert "is not defined for its images" in line


def test_a_metric_that_needs_probabilities_refuses_heads_without_them(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    grid = ["ridge", "sklearn.linear_model:Perceptron"]
    assert all(fb.make_head(kind).gives_scores for kind in grid)
    with pytest.raises(ConfigError, match=r"'auroc' needs probabilities, but .*Silent' says only the class"):
        fb.train_heads(bank, [*grid, Silent()], metric="auroc")
    assert load_runs(bank) == []


def test_a_wrong_metric_is_one_line_before_anything_is_trained(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    with pytest.raises(UnknownNameError, match="unknown class 'nobody'"):
        fb.train_heads(bank, GRID, metric="recall:nobody")
    with pytest.raises(ConfigError, match=r"nothing\.csv"):
        fb.train_heads(bank, GRID, metric="cost:nothing.csv")
    assert load_runs(bank) == []


def test_a_leaderboard_predicts_again_what_its_intervals_need_where_weights_are_saved(
    make_bank: Callable[..., Bank],
) -> None:
    bank, listener, loss = make_bank(noise=4.0), Listener(), METRICS["loss"]
    best = fb.train_heads(bank, GRID, metric="log_loss")[0]
    expected = fb.leaderboard(bank, metric="log_loss").entries[0].value_interval
    for run in load_runs(bank):
        predictions_path(run).unlink()
    board = ranked_runs(bank, metric=loss, reporter=listener)
    first, *others = board.entries
    assert first.runs[0].run == best.run
    assert first.value_interval == pytest.approx(expected)
    assert [entry.value_interval for entry in others] == [None] * len(others)
    (line,) = listener.said
    assert line.startswith(f"{len(others)} runs of this ranking by 'loss' have no stored predictions")
    again = Listener()
    ranked_runs(bank, metric=ACCURACY, reporter=again)
    assert again.said == []
