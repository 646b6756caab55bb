"""What runs and leaderboards draw: charts that a notebook shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from featurebank import leaderboard, train_heads
from featurebank.api.run import Run
from featurebank.bank import Bank
from featurebank.charts.embedding import specification, specifications
from featurebank.errors import ConfigError, HeadError, UnknownNameError
from featurebank.runs.leaderboard import Leaderboard
from featurebank.runs.run import RunRecord

GRID = [{"kind": "knn", "n_neighbors": [1, 5]}, "nearest_mean"]


@pytest.fixture
def board(make_bank: Callable[..., Bank]) -> Any:
    """The leaderboard of three heads."""
    bank = make_bank(noise=4.0)
    train_heads(bank, GRID)
    return leaderboard(bank)


def rows(chart: Any, field: str) -> list[dict[str, Any]]:
    """The rows of a chart that have a field."""
    return next(rows for rows in specification(chart)["datasets"].values() if field in rows[0])


def test_each_head_is_a_point(board: Any) -> None:
    drawn = rows(board.plot(), "seconds")
    entries = board.entries
    assert [row["id"] for row in drawn] == [entry.runs[0].run for entry in entries]
    assert [row["accuracy"] for row in drawn] == pytest.approx([entry.mean for entry in entries])
    assert [row["tied"] for row in drawn] == [entry.indistinguishable for entry in entries]
    assert drawn[0]["title"] == f"{entries[0].spec} on pooled"
    assert rows(board.plot("parameters"), "parameters")


def test_each_axis_of_the_grid_is_a_panel(board: Any) -> None:
    assert [panel.title.text for panel in board.plot_axes().vconcat] == ["head", "knn: n_neighbors"]
    with pytest.raises(ConfigError, match="there is no axis to draw"):
        board[:1].plot_axes()


def test_a_leaderboard_that_cannot_be_drawn_says_why(board: Any) -> None:
    with pytest.raises(UnknownNameError, match="unknown cost 'time': known: seconds, parameters"):
        board.plot("time")
    with pytest.raises(ConfigError, match="there is no head to draw: train some first"):
        Leaderboard([]).plot()


def test_confusions_are_those_of_the_matrix(board: Any) -> None:
    run = board[0]
    matrix = run.confusion_matrix()
    chart = run.plot_confusion()
    assert chart.title == f"{matrix.counts.trace()} of 30 validation images are right, run {run.run}"
    assert [row["images"] for row in rows(chart, "share")] == matrix.counts.ravel().tolist()
    with pytest.raises(ConfigError, match="test"):
        run.plot_confusion("test")


def record(**values: Any) -> Run:
    """A run that is nowhere stored."""
    results = {"val": {"accuracy": 0.5}}
    return Run.of(RunRecord("0123456789", "mlp", {}, "pooled", 0, 0.1, results, bank="", created="", **values))


def test_the_history_of_a_fine_tune_begins_with_its_start() -> None:
    history = {"loss": [0.9, 0.5], "accuracy": [0.5, 0.7], "val_loss": [0.8, 0.7], "val_accuracy": [0.6, 0.7]}
    run = record(
        history={**history, "phase": [1, 1], "best_epoch": 2}, finetune={"epoch_0": {"accuracy": 0.55, "loss": 1.0}}
    )
    chart = run.plot_history()
    assert chart.title == "mlp on pooled, run 0123456789"
    first = next(rows for rows in specifications(chart)[0]["datasets"].values() if "split" in rows[0])
    assert [(row["epoch"], row["value"]) for row in first if row["split"] == "validation"] == [
        (0, 0.55),
        (1, 0.6),
        (2, 0.7),
    ]
    assert {"text/html", "text/plain"} & set(chart._repr_mimebundle_())


def test_a_run_without_curves_says_why() -> None:
    with pytest.raises(HeadError, match=r"run 0123456789 \(mlp\) has no curves, because this kind of head is"):
        record().plot_history()
    with pytest.raises(HeadError, match="because it failed: out of memory"):
        record(failure="out of memory").plot_history()
