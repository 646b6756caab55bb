"""Charts on a page: compact, without addresses, drawn without `unsafe-eval`, and names are only ever data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chart_pages import drawn, page_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_charts import HOSTILE, sample_charts

from featurebank.charts.embedding import script_json, specification, specifications


@pytest.fixture(scope="module")
def charts() -> dict[str, Any]:
    return sample_charts()


@pytest.mark.heavy
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_every_chart_is_drawn_without_eval(
    charts: dict[str, Any], open_page: Callable[..., Any], width: int, dark: bool
) -> None:
    page = drawn(open_page(page_of(charts, dark=dark), width, dark=dark))
    assert page.locator("svg").count() == sum(len(specifications(chart)) for chart in charts.values())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("Math.min(...[...document.querySelectorAll('svg')].map(svg => svg.clientWidth))") > width - 60
    assert page.locator("script").count() == 3
    assert page.locator("b, img").count() == 0
    for chart in ("histories", "seconds", "matrix", "map"):
        texts = [" ".join(text.split()) for text in page.locator(f"#{chart}-0 text").all_text_contents()]
        starts = [" ".join(name.split())[:8] for name in HOSTILE]
        assert [start for start in starts if not any(text.startswith(start) for text in texts)] == [], chart


def test_charts_are_valid(charts: dict[str, Any]) -> None:
    for chart in charts.values():
        chart.to_dict()  # raises for what Vega-Lite's schema does not know


def outside_of_data(values: Any) -> Iterator[str]:
    """Yields all texts and keys of a specification but its data, and but the texts that Vega shows as they are."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key not in {"datasets", "title", "subtitle"} and not (key == "domain" and isinstance(value, list)):
                yield key
                yield from outside_of_data(value)
    elif isinstance(values, list):
        for value in values:
            yield from outside_of_data(value)
    elif isinstance(values, str):
        yield values


NAMES = st.lists(st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE), min_size=3, max_size=3, unique=True)


@settings(max_examples=3)
@given(NAMES.map(lambda names: tuple(f"name{name}" for name in names)))
def test_names_are_data_and_no_part_of_a_field_or_an_expression(names: tuple[str, ...]) -> None:
    for chart in sample_charts(names).values():
        for panel in specifications(chart):
            assert not [text for text in outside_of_data(panel) for name in names if name in text]


def test_a_specification_is_small_and_has_each_dataset_once() -> None:
    import altair as alt  # other processes of pytest need not wait for it

    rows = [{"x": place / 3, "y": math.inf, "label": "a"} for place in range(3)]
    points = alt.Chart({"values": rows}).mark_point().encode(x="x:Q", y="y:Q")
    made = specification(points + points.mark_line())
    assert list(made["datasets"].values()) == [[{"x": round(p / 3, 6), "y": None, "label": "a"} for p in range(3)]]
    assert "config" not in made
    assert made["width"] == "container"
    assert "width" not in specification(points, fill=False)


def test_a_chart_of_panels_is_taken_apart() -> None:
    chart = sample_charts()["history"]
    assert [panel["width"] for panel in specifications(chart)] == ["container"] * 2
    assert "width" not in specification(chart)


def test_json_in_a_script_element_cannot_end_it() -> None:
    text = script_json({"name": "</script><!--", "line": "\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
