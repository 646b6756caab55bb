"""The chart of histories: its panels, its marks, and what it calls over-fitting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.charts.embedding import specifications
from featurebank.charts.history import history, over_fitting
from featurebank.errors import ConfigError

EPOCHS = np.arange(12)
OVER = {
    "loss": 1 / (1 + EPOCHS), "val_loss": 0.5 + 0.02 * (EPOCHS - 5.0) ** 2, "accuracy": EPOCHS / 12,
    "val_accuracy": EPOCHS / 24, "best_epoch": 6,
}  # fmt: skip


def rows(chart: Any, *, panel: int = 0) -> list[dict[str, Any]]:
    """The rows of a panel's lines."""
    return next(rows for rows in specifications(chart)[panel]["datasets"].values() if "split" in rows[0])


def labels(chart: Any) -> list[str]:
    """The texts beside the lines of the first panel."""
    return [layer.data["values"][0]["label"] for layer in chart.hconcat[0].layer if "text" in layer.encoding.to_dict()]


def test_each_split_and_epoch_has_its_value() -> None:
    values = {(row["split"], row["epoch"]): row["value"] for row in rows(history({"mlp": OVER}), panel=1)}
    assert values["training", 1] == 1.0
    assert values["validation", 6] == 0.5
    assert len(values) == 24


def test_the_best_epoch_and_over_fitting_are_marked() -> None:
    chart = history({"mlp": OVER})
    assert over_fitting(OVER) == (6, 12)
    assert labels(chart) == ["over-fitting", "best epoch 6"]
    chart.to_dict()  # valid by Vega-Lite's schema


def test_a_training_that_still_improves_is_not_marked() -> None:
    curves = {**OVER, "val_loss": 1 / (2 + EPOCHS)}
    assert over_fitting(curves) is None
    assert labels(history({"mlp": {**curves, "best_epoch": 12}})) == ["best epoch 12"]


def test_noise_at_the_end_is_not_over_fitting() -> None:
    noise = np.random.default_rng(0).normal(1, 0.01, 30)
    assert over_fitting({"loss": np.linspace(1, 0, 30), "val_loss": noise}) is None
    assert over_fitting({"loss": [0.9, 0.5, 0.4, 0.3], "val_loss": [0.9, 0.5, 0.9, 0.9]}) is None  # too few epochs


def test_a_rising_training_loss_is_divergence_and_not_over_fitting() -> None:
    assert over_fitting({"loss": OVER["val_loss"], "val_loss": OVER["val_loss"]}) is None


def test_a_fine_tune_shows_its_start_and_its_phases() -> None:
    curves = {**OVER, "phase": [1] * 4 + [2] * 8, "epoch_0": {"accuracy": 0.4, "loss": 0.9}, "best_epoch": 0}
    chart = history({"fine-tune": curves})
    assert labels(chart) == ["over-fitting", "phase 2", "best epoch 0"]
    start = [row for row in rows(chart) if row["epoch"] == 0]
    assert [(row["split"], row["value"]) for row in start] == [("validation", 0.4)]


def test_values_that_are_not_finite_leave_a_gap() -> None:
    loss = [1.0, np.nan, 0.5, np.inf, None, 0.3, 0.2]
    points = [row for row in rows(history({"mlp": {"loss": loss}}), panel=1) if row["split"] == "training"]
    assert [(row["epoch"], row["value"]) for row in points] == [(1, 1.0), (3, 0.5), (6, 0.3), (7, 0.2)]
    assert [row["alone"] for row in points] == [True, True, False, False]
    assert len({row["part"] for row in points}) == 3


def test_losses_over_a_wide_range_have_a_logarithmic_axis() -> None:
    wide = history({"mlp": {"loss": [1000.0, 1.0], "accuracy": [0.1, 0.9]}})
    assert specifications(wide)[1]["layer"][0]["encoding"]["y"]["scale"]["type"] == "log"
    assert specifications(wide)[0]["layer"][0]["encoding"]["y"]["scale"]["domain"] == [0.1, 0.9]


def test_several_runs_stand_in_one_chart_in_their_order() -> None:
    chart = history({"b": OVER, "a": {**OVER, "best_epoch": 3}}, title="two")
    assert list(dict.fromkeys(row["run"] for row in rows(chart))) == ["b", "a"]
    assert specifications(chart)[0]["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["b", "a"]
    assert [row["epoch"] for row in rows(chart) if row["best"]] == [6, 3]
    assert {row["epoch"] for row in rows(chart, panel=1) if row["over"]} == set(range(6, 13))
    assert chart.title == "two"
    chart.to_dict()


def test_runs_without_curves_are_left_out_and_none_is_an_error() -> None:
    assert {row["run"] for row in rows(history({"svm": {}, "mlp": OVER}))} == {"mlp"}
    with pytest.raises(ConfigError, match="there are no curves to draw: only heads that are trained in epochs"):
        history({"svm": {}, "knn": {"loss": []}})


VALUES = st.lists(st.none() | st.floats(width=32), max_size=6)


@settings(max_examples=20)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), VALUES)))
def test_whatever_was_recorded_can_be_drawn(curves: dict[str, Any]) -> None:
    if any(curves.values()):
        history({"mlp": curves}).to_dict(validate=False)
        span = over_fitting(curves)
        assert span is None or 1 <= span[0] < span[1] <= len(curves["val_loss"])
