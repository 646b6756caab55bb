"""What a head confuses: counts and shares of each cell, or the most frequent confusions; the reliability diagram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chart_pages import drawn, page_of, point_at

from featurebank.charts.confusion import CELLS, confusion_matrix, reliability
from featurebank.charts.embedding import specification

COUNTS = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
CLASSES = ["ant", "bee", "no images"]


def rows(chart: Any, name: str) -> list[dict[str, Any]]:
    """The rows of a chart that have a field."""
    return next(rows for rows in specification(chart)["datasets"].values() if name in rows[0])


def test_each_cell_has_its_count_and_its_share_of_the_row() -> None:
    cells = {(row["true"], row["predicted"]): row for row in rows(confusion_matrix(COUNTS, CLASSES), "share")}
    assert len(cells) == 9
    assert (cells["ant", "bee"]["images"], cells["ant", "bee"]["share"], cells["ant", "bee"]["right"]) == (
        2,
        0.2,
        False,
    )
    assert cells["bee", "bee"]["right"]
    assert {cells["no images", name]["share"] for name in CLASSES} == {0.0}


def test_classes_of_one_name_have_cells_of_their_own_order() -> None:
    cells = rows(confusion_matrix(COUNTS, ["z", "a", "m"]), "share")
    assert [(row["row"], row["true"]) for row in cells[::3]] == [(0, "z"), (1, "a"), (2, "m")]


def test_of_many_classes_the_most_frequent_confusions_are_drawn() -> None:
    counts = np.zeros((CELLS + 1, CELLS + 1), int)
    counts[3, 4], counts[5, 5], counts[7, 1] = 4, 99, 9
    bars = rows(confusion_matrix(counts, [f"c{i}" for i in range(CELLS + 1)]), "images")
    assert [(bar["text"], bar["images"], bar["row"], bar["column"]) for bar in bars] == [
        ("c7 → c1", 9, 7, 1), ("c3 → c4", 4, 3, 4),
    ]  # fmt: skip


def test_without_confusions_there_is_an_empty_chart() -> None:
    confusion_matrix(np.eye(CELLS + 1, dtype=int), [str(i) for i in range(CELLS + 1)]).to_dict()


@pytest.mark.heavy
def test_a_page_hears_the_click_on_a_cell(open_page: Callable[..., Any]) -> None:
    charts = {}
    for size in (3, CELLS + 1):
        counts = np.zeros((size, size), int)
        counts[0, 1] = 3
        charts[f"of{size}"] = confusion_matrix(counts, [str(i) for i in range(size)], title="val")
    page = drawn(open_page(page_of(charts)))
    for name, place in {"of3-0": 1, f"of{CELLS + 1}-0": 0}.items():  # the second cell, the first bar
        point_at(page.locator(f"#{name} svg .mark-rect.role-mark path").nth(place), click=True)
        cell = page.evaluate("name => views[name].signal('cell')", name)
        assert (cell["row"], cell["column"]) == ([0], [1])


def test_a_reliability_diagram_leaves_out_empty_bins_and_says_the_error() -> None:
    chart = reliability([np.nan, 0.5, 0.9], [np.nan, 0.4, 1.0], [0, 10, 30], 0.1)
    assert [row["images"] for row in rows(chart, "images")] == [10, 30]
    assert chart.title.text == "expected calibration error 0.100"
    assert chart.title.subtitle[0].startswith("40 images")
    reliability([np.nan], [np.nan], [0], float("nan")).to_dict()
