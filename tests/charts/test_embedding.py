"""Charts on a page: compact, without addresses, drawn without `unsafe-eval`, and names are only ever data."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import altair as alt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_charts import HOSTILE, sample_charts

from featurebank.charts.embedding import javascript, script_json, specification, specifications
from featurebank.charts.theme import config

PROGRAM = """
const values = JSON.parse(document.getElementById("charts").textContent);
const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", config: values.theme };
window.views = {};
Promise.all(values.charts.map(async ([id, chart]) => {
  const element = document.createElement("div");
  element.id = id;
  document.body.append(element);
  window.views[id] = (await vegaEmbed(element, chart, options)).view;
})).then(() => { document.body.dataset.drawn = "yes"; });
"""


def page_of(charts: dict[str, Any], *, dark: bool = False) -> str:
    """A page with the strictest policy under which charts are drawn."""
    panels = [(f"{name}-{place}", panel) for name, chart in charts.items() for place, panel in panels_of(chart)]
    scripts = (javascript(), PROGRAM)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}"
    return "".join([
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="icon" href="data:,"><title>charts</title><body>',
        f'<script type="application/json" id="charts">{script_json({"charts": panels, "theme": config(dark=dark)})}',
        "</script>", *(f"<script>{script}</script>" for script in scripts),
    ])  # fmt: skip


def panels_of(chart: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    return enumerate(specifications(chart))


@pytest.fixture(scope="module")
def charts() -> dict[str, Any]:
    return sample_charts()


@pytest.mark.heavy
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_every_chart_is_drawn_without_eval(
    charts: dict[str, Any], open_page: Callable[..., Any], width: int, dark: bool
) -> None:
    page = open_page(page_of(charts, dark=dark), width, dark=dark)
    page.wait_for_selector("body[data-drawn]", state="attached")
    assert page.locator("svg").count() == sum(len(specifications(chart)) for chart in charts.values())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("script").count() == 3
    assert page.locator("b, img").count() == 0
    texts = page.locator("#histories-0 text").all_text_contents()
    for name in HOSTILE:
        start = " ".join(name[:20].split())
        assert any(" ".join(text.split()).startswith(start) for text in texts), name


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


@settings(max_examples=5)
@given(NAMES.map(lambda names: tuple(f"name{name}" for name in names)))
def test_names_are_data_and_no_part_of_a_field_or_an_expression(names: tuple[str, ...]) -> None:
    for chart in sample_charts(names).values():
        for panel in specifications(chart):
            assert not [text for text in outside_of_data(panel) for name in names if name in text]


def test_a_specification_is_small_and_has_each_dataset_once() -> None:
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
