"""The rows of the leaderboard: curves of few points that show what the whole curves show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.metrics import METRICS
from featurebank.reporting.content import Board
from featurebank.reporting.evidence import Evidence
from featurebank.reporting.sections.board import EPOCHS, alike_heads, gather_board, thinned
from featurebank.reporting.sections.runs import gather_winner
from featurebank.runs.comparison import entries
from featurebank.runs.run import RunRecord, load_runs


@given(st.integers(2, 500), st.integers(2, 60), st.integers(0, 500))
def test_thinned_curves_keep_both_ends_and_the_best_epoch(epochs: int, points: int, best: int) -> None:
    places = thinned(epochs, points, best)
    assert len(places) <= max(points, 2)
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, epochs - 1)
    if points > 2 and 1 <= best <= epochs:
        assert best - 1 in places


def board_of(make_bank: Callable[..., Bank], **history: Any) -> Board:
    """The leaderboard of a bank with one head, as if it had been trained in epochs."""
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    for run in load_runs(bank):
        dataclasses.replace(run, history=history).save()
    return gather_board(Evidence(bank))


def test_curves_of_a_long_training(make_bank: Callable[..., Bank]) -> None:
    epochs = np.arange(1, 401)
    loss, val_loss = (1 / epochs).tolist(), (np.abs(epochs - 100) / 100 + 0.123456789).tolist()
    (row,) = board_of(make_bank, loss=loss, val_loss=val_loss, accuracy=[], best_epoch=100).rows
    assert row.curves is not None
    assert set(row.curves) == {"loss", "val_loss"}
    assert len(row.epochs) == len(row.curves["loss"]) == EPOCHS
    assert (row.best_epoch, row.overfits_from) == (100, 100)
    assert row.curves["val_loss"][row.epochs.index(100)] == 0.1235


@pytest.mark.parametrize("history", [{}, {"loss": [0.5], "best_epoch": 1}, {"loss": [None, None]}])
def test_heads_without_curves(make_bank: Callable[..., Bank], history: dict[str, Any]) -> None:
    (row,) = board_of(make_bank, **history).rows
    assert row.curves is None or set(row.curves["loss"]) == {None}
    assert row.overfits_from == 0


def test_a_metric_ranks_the_heads_of_a_report_and_is_a_column(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    train_heads(bank, [{"kind": "knn", "n_neighbors": [1, 3, 9]}, "ridge"])
    auroc = METRICS["auroc"]
    evidence = Evidence(bank, metric=auroc)
    values = [row.values["AUROC"] for row in gather_board(evidence).rows]
    assert values == sorted(values, reverse=True)
    assert evidence.winner is not None
    assert evidence.winner.metrics["val"]["auroc"] == max(run.metrics["val"]["auroc"] for run in evidence.runs)


def test_heads_without_recorded_answers_are_alike_if_their_intervals_overlap() -> None:
    def run(accuracy: float, alpha: int) -> RunRecord:
        val = {"accuracy": accuracy, "loss": 1.0, "images": 100}
        return RunRecord(
            run=str(alpha), head="ridge", params={"alpha": alpha}, tap="pooled", seed=0, seconds=1.0,
            metrics={"val": val, "train": {"accuracy": 1.0}}, bank="", created="",
        )  # fmt: skip

    best, near, far = entries([run(0.9, 1), run(0.88, 2), run(0.5, 3)])
    assert near.p_value is None
    assert alike_heads([best, near, far]) == [near]


def test_parameters_that_the_names_omit_are_named(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    train_heads(bank, [{"kind": "knn", "n_neighbors": [1, 2], "metric": "cosine"}])
    board = gather_board(Evidence(bank))
    assert all("cosine" not in row.head for row in board.rows)
    assert list(board.common) == ["metric=cosine (knn)"]


def test_many_rows_are_cut(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.reporting.sections.board.ROWS", 2)
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge", "alpha": [1.0, 2.0, 3.0]}])
    board = gather_board(Evidence(bank))
    assert (len(board.rows), board.hidden) == (2, 1)


def test_the_metric_that_ranks_the_heads_is_shown_with_its_interval(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    train_heads(bank, [{"kind": "knn", "n_neighbors": [1, 9]}, "ridge"])
    evidence = Evidence(bank, metric=METRICS["auroc"])
    best, board = evidence.best, gather_board(evidence)
    assert best is not None
    assert best.value_interval is not None
    low, high = best.value_interval
    values = board.rows[0].values
    assert list(values)[:2] == ["AUROC", "AUROC, 95 % interval"]
    assert values["AUROC"] == pytest.approx(best.value, abs=1e-4)
    assert values["AUROC, 95 % interval"] == f"{low:.4f} to {high:.4f}"
    facts = {fact.name: fact for fact in gather_winner(evidence).facts}
    assert facts["validation auroc"].details == f"95 % interval {low:.4f} to {high:.4f}"
    assert "auroc" in board.conclusion.sentence
    plain = gather_board(Evidence(bank)).rows[0].values
    assert "AUROC" not in plain
