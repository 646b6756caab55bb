"""Charts as files: pictures, Vega-Lite's JSON, and pages that contain all that they need."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from featurebank.charts import embedding
from featurebank.charts.theme import apply_theme, config
from featurebank.system.files import check_output, json_bytes, write_bytes

if TYPE_CHECKING:
    import altair as alt

__all__ = ["SUFFIXES", "save_chart"]

SUFFIXES = (".png", ".svg", ".json", ".html")
"""The kinds of files that a chart can be saved as."""
_SCALE = 2
"""Pixels of a PNG file for each pixel of the chart, so that it is sharp on dense screens."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src HASHES">
<link rel="icon" href="data:,">
<title>TITLE</title>
<style>
body { margin: 1rem; background: #fff; color: #1b1f24; font: 1rem system-ui, sans-serif; }
h1 { font-size: 1.1rem; margin: 0 .5rem .8rem; overflow-wrap: anywhere; }
main { display: flex; flex-wrap: wrap; gap: 1rem; }
main > div { flex: 1 1 22rem; min-width: 0; max-width: 60rem; }
#vg-tooltip-element { pointer-events: none; }
#vg-tooltip-element table tr td.key { max-width: 25vw; }
#vg-tooltip-element table tr td.value { max-width: min(20rem, 40vw); white-space: normal; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  #vg-tooltip-element { left: .5rem !important; right: .5rem; top: auto !important; bottom: .5rem; }
}
@media (prefers-color-scheme: dark) { body { background: #14171c; color: #e7eaee; } }
</style>
</head>
<body>
<h1>TITLE</h1>
<main></main>
<script type="application/json" id="chart">VALUES</script>
<script>LIBRARIES</script>
<script>PROGRAM</script>
</body>
</html>
"""
_PROGRAM = """
const chart = JSON.parse(document.getElementById("chart").textContent), main = document.querySelector("main");
const common = { mode: "vega-lite", ast: true, actions: false, renderer: "svg" };
const dark = matchMedia("(prefers-color-scheme: dark)");
async function draw() {
  main.replaceChildren(...chart.panels.map(() => document.createElement("div")));
  const tooltip = { theme: dark.matches ? "dark" : "light" };
  const options = { ...common, tooltip, config: chart.themes[+dark.matches] };
  await Promise.all(chart.panels.map((panel, place) => vegaEmbed(main.children[place], panel, options)));
  main.dataset.drawn = dark.matches ? "dark" : "light";
}
dark.addEventListener("change", draw);
draw();
"""


def save_chart(
    chart: alt.TopLevelMixin, path: str | Path, *, dark: bool = False, force: bool = False, title: str = ""
) -> Path:
    """Saves a chart as a file, atomically.

    Args:
        chart: the chart.
        path: the file; its suffix is one of `SUFFIXES`. A PNG file has two pixels for each pixel of the chart. An HTML
            file contains all that it needs, and follows the light or dark mode of its reader.
        dark: whether a picture is for a dark page.
        force: whether an existing file is replaced.
        title: the title of an HTML file.

    Returns:
        The path.

    Raises:
        ConfigError: see `featurebank.system.files.check_output`.
        DiskFullError: no space is left on the disk.

    Example:
        >>> import altair as alt
        >>> chart = alt.Chart({"values": [{"x": 1}]}).mark_point().encode(x="x:Q")
        >>> save_chart(chart, "points.svg").read_text()[:4]
        '<svg'
        >>> save_chart(chart, "points.gif")
        Traceback (most recent call last):
        featurebank.errors.ConfigError: cannot write 'points.gif': expected a name that ends with .png or .svg or ...
    """
    target = check_output(path, force=force, suffixes=SUFFIXES)
    write_bytes(target, _content(chart, target.suffix.lower(), dark=dark, title=title or target.stem))
    return target


def _content(chart: alt.TopLevelMixin, suffix: str, *, dark: bool, title: str) -> bytes:
    import vl_convert

    if suffix == ".html":
        return _page(chart, title).encode()
    values = apply_theme(chart, dark=dark).to_dict(validate=False)
    if suffix == ".json":
        return json_bytes(values)
    if suffix == ".svg":
        return str(vl_convert.vegalite_to_svg(values, allowed_base_urls=[])).encode()
    return bytes(vl_convert.vegalite_to_png(values, scale=_SCALE, allowed_base_urls=[]))


def _page(chart: alt.TopLevelMixin, title: str) -> str:
    """Returns a page whose Content-Security-Policy lets only its own two scripts run."""
    values = {"panels": embedding.specifications(chart), "themes": [config(), config(dark=True)]}
    scripts = {"LIBRARIES": embedding.javascript(), "PROGRAM": _PROGRAM}
    parts = {
        "TITLE": html.escape(title), "HASHES": " ".join(map(_hash, scripts.values())), **scripts,
        "VALUES": embedding.script_json(values),
    }  # fmt: skip
    return re.sub("|".join(parts), lambda name: parts[name[0]], _PAGE)  # in one pass: a title may be "VALUES"


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
