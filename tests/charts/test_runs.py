"""Heads in comparison: one point each, axes that fit the values, and the signals that pages listen to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from chart_pages import drawn, page_of, point_at
from hypothesis import given
from hypothesis import strategies as st
from sample_charts import head_points

from featurebank.charts.embedding import specification, specifications
from featurebank.charts.runs import HeadPoint, accuracy_against, axes_of, axis_effects
from featurebank.errors import ConfigError
from featurebank.reporting.sections.drawings import axis_effect

POINTS = head_points(("svm", "mlp", "knn"))


def rows(chart: Any) -> list[dict[str, Any]]:
    """The rows of a chart."""
    return next(rows for rows in specification(chart)["datasets"].values() if "title" in rows[0])


def test_each_head_is_one_point_with_its_full_title() -> None:
    drawn = rows(accuracy_against(POINTS))
    assert [row["title"] for row in drawn] == [point.title for point in POINTS]
    assert {row["interval"] for row in drawn} == {"0.800 to 0.900"}


def test_heads_whose_cost_is_not_known_are_left_out_and_counted() -> None:
    chart = accuracy_against(POINTS, "parameters")
    assert len(rows(chart)) == 2
    assert chart.title.subtitle == ["filled: cannot be told apart from the best", "1 head without known parameters"]
    with pytest.raises(ConfigError, match="there is no head to draw: the parameters of 1 head are not known"):
        accuracy_against([point for point in POINTS if point.parameters is None], "parameters")


def test_axes_fit_the_values() -> None:
    layer = specification(accuracy_against([HeadPoint("a", "a", "svm", 0.9, 0.85, 0.94, seconds=0.0)]))["layer"][1]
    low, high = layer["encoding"]["x"]["scale"]["domain"]
    assert 0 < low < 0.001 < high < 0.01  # no time at all stands at a thousandth of a second
    assert layer["encoding"]["y"]["scale"]["domain"] == pytest.approx([0.898, 0.94])


def test_a_head_at_chance_stands_at_the_edge_and_does_not_press_the_others_together() -> None:
    points = [HeadPoint(str(i), "", "svm", 0.8 + i / 100, 0.7, 0.99, 1.0, settings={"C": i}) for i in range(12)]
    chance = HeadPoint("c", "", "svm", 0.1, 0.05, 0.2, 1.0, settings={"C": 99})
    chart = accuracy_against([*points, chance])
    assert chart.title.subtitle == ["at the lower edge: 1 head far below the others"]
    scale = specification(chart)["layer"][1]["encoding"]["y"]["scale"]
    assert scale["clamp"]
    assert 0.75 < scale["domain"][0] < 0.8
    effect = specifications(axis_effects(axes_of([*points, chance])))[0]
    assert effect["layer"][0]["encoding"]["x"]["scale"] == {"domain": [0.8, 0.91], "nice": True, "clamp": True}
    titles = {layer["encoding"]["x"]["title"] for layer in effect["layer"]}
    assert titles == {"validation accuracy (at the left edge: that or less)"}


@pytest.mark.heavy
def test_a_page_hears_clicks_and_brushes_and_can_bring_out_a_head(open_page: Callable[..., Any]) -> None:
    page = drawn(open_page(page_of({"scatter": accuracy_against(POINTS)})))
    signal = "name => views['scatter-0'].signal(name)"
    point_at(page.locator("svg .mark-symbol.role-mark path").nth(1), click=True)
    assert page.evaluate(signal, "picked")["id"] == [POINTS[1].id]
    box = page.locator("svg .background").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 20)
    page.mouse.up()
    assert set(page.evaluate(signal, "brushed")) == {"seconds", "accuracy"}
    page.evaluate("id => views['scatter-0'].signal('highlighted', id).runAsync().then(() => 0)", POINTS[2].id)
    assert page.locator("svg .mark-symbol path[d^='M8.66']").count() == 1  # the large one


def test_axes_are_those_with_several_values() -> None:
    axes = axes_of(POINTS)
    assert list(axes) == ["head", "tap"]
    assert axes["tap"] == {"map": [0.86], "pooled": [0.85, 0.87]}


def test_numbers_are_in_order_and_parameters_belong_to_their_kind() -> None:
    values = [100.0, 1, 0.01, None, "scale", True]
    points = [HeadPoint(str(v), "", "svm", 0.9, 0.8, 1.0, 1.0, settings={"C": v}) for v in values]
    points.append(HeadPoint("x", "", "mlp", 0.9, 0.8, 1.0, 1.0, settings={"C": 7}))
    assert list(axes_of(points)["svm: C"]) == ["0.01", "1", "100", "None", "True", "scale"]


def test_values_that_are_shown_alike_are_one_value() -> None:
    settings = [(0.12345678, 0.7), (0.12345679, 0.8), (0.5, 0.9)]
    points = [HeadPoint(str(C), "", "svm", mean, 0.5, 1.0, 1.0, settings={"C": C}) for C, mean in settings]
    assert axes_of(points)["svm: C"] == {"0.123457": [0.7, 0.8], "0.5": [0.9]}
    (panel,) = specifications(axis_effect([("0.123457", [0.7]), ("0.123457", [0.8]), ("0.5", [0.9])]))
    (drawn_rows,) = panel["datasets"].values()
    assert [row["accuracy"] for row in drawn_rows] == [0.7, 0.8, 0.9]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.floats(0, 1)), max_size=12))
def test_every_accuracy_is_in_each_axis_of_its_head_once(heads: list[tuple[str, int, float]]) -> None:
    points = [HeadPoint("", "", kind, value, 0, 1, 1.0, settings={"C": number}) for kind, number, value in heads]
    for axis, values in axes_of(points).items():
        kinds = {"head": {"a", "b"}}.get(axis, {axis[0]})
        expected = sorted(point.accuracy for point in points if point.kind in kinds)
        assert sorted(accuracy for group in values.values() for accuracy in group) == expected
        assert len(values) > 1


def test_each_axis_has_a_panel_with_the_same_scale() -> None:
    panels = specifications(axis_effects({"svm: C": {"1": [0.8, 0.82], "10": [0.9]}, "tap": {"a": [0.7], "b": [0.9]}}))
    assert [panel["title"]["text"] for panel in panels] == ["svm: C", "tap"]
    assert {str(panel["layer"][0]["encoding"]["x"]["scale"]["domain"]) for panel in panels} == {"[0.7, 0.9]"}
    assert {panel["layer"][0]["encoding"]["x"]["title"] for panel in panels} == {"validation accuracy"}
    with pytest.raises(ConfigError, match="there is no axis to draw: all heads have the same settings"):
        axis_effects({})


def test_many_values_are_cut_off_and_the_title_says_so() -> None:
    chart = axis_effects({"C": {str(value): [0.5, 0.6] for value in range(50)}})
    assert chart.vconcat[0].title.text == "C (20 of 50 values)"
