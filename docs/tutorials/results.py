"""What is stored of a cell's results: the same on every machine, readable on light and on dark pages, and small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.charts.theme import FONT, config

_WARNING = re.compile(r"^\S*/ipykernel_\d+/\d+\.py:\d+: (\w+: .*\n)(?:  .*\n)?", re.MULTILINE)
_COLOUR = re.compile(r"""(fill|stroke|stop-color)="([^"]*)\"""")
_MEASURED = "'Liberation Sans', Arial, Helvetica, sans-serif"
"""The font with which vl-convert measures texts, and those of the same widths: labels are not cut off."""
_MACHINE = re.compile(
    r"(?<![\w.:/<])/(?:tmp|home|root|work|opt|usr|var|Users|private)/[\w.]|\b[A-Z]:\\\w|\bat 0x[\da-f]{6,}"
)
"""An absolute path, or the address of an object in memory."""


def prepare_kernel() -> None:
    """Lets a kernel show charts as pictures and no progress bars, whose last state is no result."""
    import altair

    import featurebank

    def picture(chart: dict[str, Any]) -> dict[str, str]:
        return {"image/svg+xml": picture_of_chart(chart), "text/plain": "<Chart>"}

    altair.renderers.register("picture", picture)
    altair.renderers.enable("picture")
    featurebank.set_progress(False)


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
        A warning of Python names no file of the machine.
    """
    if output["output_type"] == "stream":
        return {**output, "text": _WARNING.sub(r"\1", _relative(output["text"], place))}
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
        if "<script" in text:
            yield "needs JavaScript"


def _shows(code: str) -> bool:
    """Returns whether a cell ends with an expression, whose value is shown, or prints something."""
    import ast

    body = ast.parse(re.sub(r"^[!%].*$", "pass", code, flags=re.MULTILINE)).body
    last = isinstance(body[-1], ast.Expr) if body else False
    return (last and not code.rstrip().endswith(";")) or bool(re.search(r"^(!|print\()", code, re.MULTILINE))


def _noise(text: str) -> str:
    """Returns the first line that is no warning for users, or an empty text."""
    return next(
        (line for line in text.splitlines() if line and not re.match(r"\w*(Bad|FeatureBank)\w*Warning: ", line)), ""
    )
