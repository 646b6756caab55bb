"""A page of charts, with the strictest policy under which they are drawn."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from featurebank.charts.embedding import javascript, script_json, specifications
from featurebank.charts.theme import config

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

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
    panels = [
        (f"{name}-{place}", panel)
        for name, chart in charts.items()
        for place, panel in enumerate(specifications(chart))
    ]
    scripts = (javascript(), PROGRAM)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}"
    return "".join([
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="icon" href="data:,"><title>charts</title><style>div { width: 100% }</style><body>',
        f'<script type="application/json" id="charts">{script_json({"charts": panels, "theme": config(dark=dark)})}',
        "</script>", *(f"<script>{script}</script>" for script in scripts),
    ])  # fmt: skip


def drawn(page: Page) -> Page:
    """Waits until all charts of a page are drawn."""
    page.wait_for_selector("body[data-drawn]", state="attached")
    return page


def point_at(locator: Locator, *, click: bool = False) -> None:
    """Moves the mouse to the middle of a mark, whatever lies above it, and perhaps clicks."""
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    assert box
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    locator.page.mouse.move(*middle)
    if click:
        locator.page.mouse.click(*middle)
