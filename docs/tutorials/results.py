"""What is stored of a cell's results: the same on every machine, readable on light and on dark pages, and small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank import errors
from featurebank.charts.theme import FONT, config

_CHART = "Chart"
_GESTURES = ("click ", "drag ", "hover ")
"""How the lines under the title of a chart begin that say what the mouse does: nothing in a picture."""
_WARNING = re.compile(r"^\S*/ipykernel_\d+/\d+\.py:\d+: (\w+: .*\n)(?:  .*\n)?", re.MULTILINE)
_LOGGED = re.compile(r"^(?:[IWE]\d{4} [\d:.]+ .*|WARNING: All log messages before absl.*)\n", re.MULTILINE)
"""Lines of TensorFlow's log, which tell the time and the processor."""
_COLOUR = re.compile(r"""(fill|stroke|stop-color)="([^"]*)\"""")
_MEASURED = "'Liberation Sans', Arial, Helvetica, sans-serif"
"""The font with which vl-convert measures texts, and those of the same widths: labels are not cut off."""
_MACHINE = re.compile(
    r"(?<![\w.:/<])/(?:tmp|home|root|work|opt|usr|var|Users|private)/[\w.]|\b[A-Z]:\\\w|\bat 0x[\da-f]{6,}"
)
"""An absolute path, or the address of an object in memory."""


def prepare_kernel() -> None:
    """Lets a kernel show charts as pictures, and no progress bars: their last state is no result."""
    import os
    import warnings

    import altair

    import featurebank

    def picture(chart: dict[str, Any]) -> dict[str, str]:
        return {"image/svg+xml": picture_of_chart(chart), "text/plain": title_of_chart(chart)}

    altair.renderers.register("picture", picture)
    altair.renderers.enable("picture")
    featurebank.set_progress(False)
    os.environ.update(TERM="dumb", NO_COLOR="1")
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):  # the kernel sets them
        os.environ.pop(name, None)
    warnings.filterwarnings("ignore", "IProgress not found")  # tqdm wants Jupyter's widgets, and nothing draws with it


def without_colours(text: str) -> str:
    r"""Returns text without the control sequences of a terminal.

    Example:
        >>> without_colours("\x1b[31mred\x1b[39m")
        'red'
    """
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def cleaned(output: dict[str, Any], place: Path) -> dict[str, Any]:
    """Returns an output of a cell as it is stored.

    Args:
        output: the output, as nbformat has it.
        place: the directory in which the notebook ran; paths below it become relative.

    Returns:
        A warning of Python names no file of the machine, and what TensorFlow logs is left out.
    """
    if output["output_type"] == "stream":
        text = _LOGGED.sub("", output["text"])
        return {**output, "text": _WARNING.sub(r"\1", _relative(text, place))}
    if "data" not in output:
        return output
    data = {kind: _relative(text, place) if isinstance(text, str) else text for kind, text in output["data"].items()}
    return {**output, "data": data, "metadata": {}}


def _relative(text: str, place: Path) -> str:
    for root in {str(place), str(place.resolve())}:
        text = text.replace(f"{root}/", "").replace(root, ".")
    return text


def picture_of_chart(chart: dict[str, Any]) -> str:
    """Returns a chart as SVG in the colours of light pages, with those of dark pages where a page is dark.

    Args:
        chart: the chart as Vega-Lite.

    Example:
        >>> axis = {"field": "x", "type": "quantitative"}
        >>> picture = picture_of_chart({"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {"x": axis}})
        >>> "prefers-color-scheme:dark" in picture, '[fill="#5b6470"]{fill:#9aa4b1}' in picture
        (True, True)
        >>> "Arial" in picture, "system-ui" in picture
        (True, False)
    """
    import vl_convert

    if isinstance(title := chart.get("title"), dict):
        lines = [line for line in title.get("subtitle", []) if not line.startswith(_GESTURES)]
        chart = {**chart, "title": {**title, "subtitle": lines}}
    light, dark = (
        str(vl_convert.vegalite_to_svg({**chart, "config": config(dark=dark)}, allowed_base_urls=[]))
        for dark in (False, True)
    )
    light, dark = (re.sub(r' aria-[\w-]+="[^"]*"', "", svg) for svg in (light, dark))  # the data as text, again
    light, dark = (svg.replace(f'font-family="{FONT}"', f'font-family="{_MEASURED}"') for svg in (light, dark))
    pairs = zip(_COLOUR.findall(light), _COLOUR.findall(dark), strict=True)
    rules = {f'[{name}="{before}"]{{{name}:{after}}}' for (name, before), (_, after) in pairs if before != after}
    style = f"<style>@media (prefers-color-scheme:dark){{{''.join(sorted(rules))}}}</style>"
    return re.sub(r"<svg\b[^>]*>", lambda start: start[0] + style, light, count=1)


def title_of_chart(chart: dict[str, Any]) -> str:
    """Returns the text that stands for the picture of a chart, for example for people who do not see it.

    Args:
        chart: the chart as Vega-Lite.

    Example:
        >>> title_of_chart({"title": {"text": "accuracy by epoch"}}), title_of_chart({"mark": "point"})
        ('Chart: accuracy by epoch', 'Chart')
    """
    title = chart.get("title") or ""
    text = title.get("text", "") if isinstance(title, dict) else title
    return f"{_CHART}: {text if isinstance(text, str) else ' '.join(text)}" if text else _CHART


def problems(cell: dict[str, Any]) -> Iterator[str]:
    """Yields what is wrong with the stored results of a code cell.

    Args:
        cell: the cell, as nbformat has it.
    """
    code = "".join(cell["source"])
    if _shows(code) and not cell["outputs"]:
        yield "shows something, and has no result"
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            yield f"ended with {output['ename']}: {output['evalue']}"
            continue
        texts = [output.get("text", ""), *output.get("data", {}).values()]
        text = "\n".join("".join(part) for part in texts if isinstance(part, str | list))
        if "Traceback (most recent call last)" in text:
            yield "shows a traceback"
        if found := _MACHINE.search(text):
            yield f"names what only this machine has: {text[found.start() : found.start() + 40]!r}"
        if output.get("name") == "stderr" and (line := _noise(text)):
            yield f"writes to standard error, and it is no warning of featurebank: {line!r}"
        alternative = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
        if "image/svg+xml" in output.get("data", {}) and alternative in {None, _CHART}:
            yield "has a picture without a title: give it one, or its metadata `mystnb.image.alt` a text for its place"
        if "<script" in text:
            yield "needs JavaScript"


def _shows(code: str) -> bool:
    """Returns whether a cell ends with an expression, whose value is shown, or prints something."""
    import ast

    body = ast.parse(re.sub(r"^[!%].*$", "pass", code, flags=re.MULTILINE)).body
    last = isinstance(body[-1], ast.Expr) if body else False
    return (last and not code.rstrip().endswith(";")) or bool(re.search(r"^(!|print\()", code, re.MULTILINE))


def _noise(text: str) -> str:
    """Returns the first line that is no warning of featurebank, or an empty text."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Warning)}
    return next((line for line in text.splitlines() if line and line.partition(":")[0] not in kinds), "")
