"""How much better one run is than another: as the leaderboard tests it, with an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from featurebank import leaderboard, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError, UnknownNameError

MakeBank = Callable[..., Bank]


@pytest.fixture
def board(make_bank: MakeBank) -> Any:
    """The leaderboard of two heads."""
    bank = make_bank(noise=4.0)
    train_heads(bank, [{"kind": "knn", "n_neighbors": 1}, "nearest_mean"])
    return leaderboard(bank)


def test_a_gain_is_the_difference_with_its_interval_and_the_test_of_the_leaderboard(board: Any) -> None:
    best, other = board
    gain = best.gain_over(other)
    assert gain.difference == pytest.approx(board.entries[0].mean - board.entries[1].mean)
    assert gain.low < gain.difference < gain.high
    assert gain.p_value == pytest.approx(board.entries[1].p_value)
    assert np.allclose(other.gain_over(best), [-gain.difference, -gain.high, -gain.low, gain.p_value])
    assert best.gain_over(best)[::3] == (0.0, 1.0)


def test_any_metric_has_a_gain(board: Any) -> None:
    best, other = board
    for metric in ("log_loss", "macro_f1", "recall:class1"):
        gain = best.gain_over(other, metric)
        scores = [run.metrics["val"] for run in board]
        if metric == "recall:class1":
            expected = scores[0]["recall"][1] - scores[1]["recall"][1]
        else:
            name = metric.removeprefix("log_")
            expected = scores[0][name] - scores[1][name]
        assert gain.difference == pytest.approx(expected, rel=1e-5, abs=1e-6), metric
        assert gain.low <= gain.difference <= gain.high
    with pytest.raises(UnknownNameError):
        best.gain_over(other, "acuracy")


def test_runs_without_stored_predictions_predict_again(board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    best, other = board
    expected = best.gain_over(other, "log_loss")
    monkeypatch.setattr("featurebank.runs.gains.images_of_run", lambda run, metric: None)
    assert best.gain_over(other, "log_loss") == pytest.approx(expected, abs=1e-5)


def test_runs_of_two_banks_of_the_same_images(make_bank: MakeBank) -> None:
    (one,), (two,) = (
        train_heads(make_bank(name, noise=noise), "nearest_mean") for name, noise in (("a", 4.0), ("b", 2.0))
    )
    gain = two.gain_over(one).difference
    assert gain == pytest.approx(two.metrics["val"]["accuracy"] - one.metrics["val"]["accuracy"])


def test_what_cannot_be_compared_says_why(board: Any, make_bank: MakeBank) -> None:
    best, other = board
    with pytest.raises(ConfigError, match="different images"):
        best.gain_over(replace(other, fold=(0, 5, 0)))
    with pytest.raises(HeadError, match="it failed: no memory"):
        best.gain_over(replace(other, failure="no memory"))
    with pytest.raises(HeadError, match="older state of 'bank'"):
        best.gain_over(replace(other, bank="0" * 32))
    (elsewhere,) = train_heads(make_bank("small", splits=(60, 24, 30)), "nearest_mean")
    with pytest.raises(ConfigError):
        best.gain_over(elsewhere)
