"""A map of images: one point each, mistakes marked, and the image in the tooltip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chart_pages import drawn, page_of, point_at
from sample_charts import PIXEL

from featurebank.charts.embedding import specification
from featurebank.charts.image_map import LEGEND, image_map
from featurebank.errors import ConfigError

PLACES = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 0.5]])
IDS, CLASSES = ["a/1.png", "b/2.png", "b/<b>3.png"], ["ant", "bee"]


def rows(chart: Any) -> list[dict[str, Any]]:
    """The rows of a chart."""
    return next(iter(specification(chart)["datasets"].values()))


def test_each_image_has_its_point_its_class_and_its_prediction() -> None:
    first, second, _ = rows(
        image_map(PLACES, IDS, [0, 1, 1], CLASSES, predicted=np.array([0, 0, 1]), images=[PIXEL, None, PIXEL])
    )
    assert first == {
        "x": 0.0, "y": 0.0, "id": "a/1.png", "label": "ant", "order": 0, "predicted": "ant", "wrong": False,
        "image": PIXEL,
    }  # fmt: skip
    assert (second["predicted"], second["wrong"], second["image"]) == ("ant", True, "")


def test_without_predictions_there_are_no_mistakes() -> None:
    chart = image_map(PLACES, IDS, [0, 1, 1], CLASSES)
    assert [row["wrong"] for row in rows(chart)] == [False] * 3
    assert len(chart.layer) == 1
    assert "image" not in rows(chart)[0]
    assert [tip["field"] for tip in specification(chart)["layer"][0]["encoding"]["tooltip"]] == ["id", "label"]


@pytest.mark.parametrize(("count", "columns"), [(5, 2), (LEGEND, 3), (LEGEND + 1, None)])
def test_many_classes_have_no_legend(count: int, columns: int | None) -> None:
    names = [f"class {i}" for i in range(count)]
    chart = image_map(np.random.default_rng(0).normal(0, 1, (count, 2)), names, range(count), names)
    chart.to_dict()
    legend = specification(chart)["layer"][0]["encoding"]["color"]["legend"]
    assert (legend and legend["columns"]) == columns


def test_columns_of_other_lengths_are_an_error() -> None:
    with pytest.raises(ConfigError, match="the map needs as many labels as places: got 2, expected 3"):
        image_map(PLACES, IDS, [0, 1], CLASSES)


@pytest.mark.heavy
def test_the_tooltip_shows_the_image_and_names_as_text(open_page: Callable[..., Any]) -> None:
    chart = image_map(PLACES, IDS, [0, 1, 1], ["ant", "<i>bee</i>"], predicted=[0, 1, 0], images=[PIXEL] * 3)
    page = drawn(open_page(page_of({"map": chart})))
    point = page.locator("svg .mark-symbol.role-mark path").nth(2)
    point_at(point)
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert tooltip.locator("img").get_attribute("src") == PIXEL
    assert tooltip.locator("b, i").count() == 0
    assert all(text in tooltip.inner_text() for text in ("b/<b>3.png", "<i>bee</i>", "ant"))
    assert point.get_attribute("aria-label") == "b/<b>3.png: <i>bee</i>, predicted as ant"
    point_at(point, click=True)
    assert page.evaluate("views['map-0'].signal('picked').id") == ["b/<b>3.png"]
