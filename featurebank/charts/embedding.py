"""Charts on a page: their specifications as compact JSON values, and the JavaScript that draws them.

The page needs no network and no `unsafe-eval`: with the option `ast: true`, vega-embed evaluates Vega's expressions
with an interpreter. A page draws a chart with

    vegaEmbed(element, specification, {mode: "vega-lite", ast: true, actions: false, renderer: "svg", config: theme})

where `theme` is `theme.config()` for light pages or `theme.config(dark=True)` for dark ones. A chart is as wide as its
element, which needs a width by CSS (`width: 100%`), because vega-embed lets it shrink to its contents.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

__all__ = ["javascript", "script_json", "specification", "specifications"]

_DIGITS = 6
"""Significant digits of the numbers in the data of a chart."""
_JOINED = ("hconcat", "vconcat", "concat")


@functools.cache
def javascript() -> str:
    """Returns the libraries that draw charts, as one script that defines `window.vegaEmbed` and `window.vega`.

    The script has about 900 kB; the first call takes a second. It holds no "</script", so it may stand in a page.

    Example:
        >>> "window.vegaEmbed=" in javascript(), "</script" in javascript().lower()
        (True, False)
    """
    import vl_convert

    untyped: Any = vl_convert  # its types ask for arguments that it does not need
    return str(untyped.javascript_bundle())


def specification(chart: alt.TopLevelMixin, *, fill: bool = True) -> dict[str, Any]:
    """Returns a chart as JSON values of Vega-Lite, without its configuration, which the page chooses.

    Numbers in the data are rounded to six significant digits. Data that several layers share is there once.

    Args:
        chart: the chart.
        fill: whether the chart is as wide as its element in the page. A chart of several panels keeps its own width:
            use `specifications`, and let the page place the panels.

    Example:
        >>> import altair as alt
        >>> chart = alt.Chart({"values": [{"x": 1 / 3}]}).mark_point().encode(x="x:Q")
        >>> made = specification(chart)
        >>> made["width"], made["datasets"]
        ('container', {'data-...': [{'x': 0.333333}]})
    """
    values: dict[str, Any] = chart.to_dict(validate=False)
    values.pop("config", None)
    values["datasets"] = {name: [_rounded(row) for row in rows] for name, rows in values.get("datasets", {}).items()}
    if fill and not any(name in values for name in (*_JOINED, "facet", "spec")):
        values["width"] = "container"
        values["autosize"] = {"type": "fit-x", "contains": "padding"}
    return values


def specifications(chart: alt.TopLevelMixin) -> list[dict[str, Any]]:
    """Returns the specification of each panel of a chart, which a page can place side by side or one below the other.

    Args:
        chart: a chart of several panels, as of `history`; of any other chart, the list has one specification.
    """
    panels = next((getattr(chart, name) for name in _JOINED if isinstance(getattr(chart, name, None), list)), None)
    return [specification(chart)] if panels is None else [specification(_with_data(panel, chart)) for panel in panels]


def _with_data(panel: Any, chart: alt.TopLevelMixin) -> Any:
    """Returns a panel with its data, which Altair moves to the whole chart if all panels share them."""
    import altair as alt

    if panel.data is not alt.Undefined:
        return panel
    copied = panel.copy(deep=False)
    copied.data = getattr(chart, "data", alt.Undefined)
    return copied


def script_json(values: Any) -> str:
    r"""Returns JSON text that may stand inside a <script> element: no name in it can end the element.

    Example:
        >>> script_json({"name": "</script>"})
        '{"name":"\\u003c/script>"}'
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _shorter(value) for name, value in row.items()}


def _shorter(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
