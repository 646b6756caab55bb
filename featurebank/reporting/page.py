"""The page of a report: one HTML file that needs no network, and that reads without its script, too."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.charts.embedding import javascript
from featurebank.reporting.content import BankReport, Board, Comparison, Confusions, ReportContent, WhatRan
from featurebank.reporting.page_data import PageData
from featurebank.system.files import write_bytes
from featurebank.system.html import environment
from featurebank.words import counted, one_line

_PROSE = 2000
"""Maximum number of characters of a sentence: it stays whole, even with several long names."""
_TEMPLATES = Path(__file__).parent / "templates"
_ANCHORS = {
    "WhatRan": "what-was-run", "Winner": "winner", "Board": "leaderboard", "Confusions": "confusions",
    "PerClass": "classes", "Calibration": "calibration", "SetsAndAnswers": "certainty", "Mistakes": "mistakes",
    "ImageMap": "map", "DataDoubts": "doubts", "Savings": "savings",
}  # fmt: skip
"""The part of an address that leads to a section, by the name of its class."""
_HEATS = 10
"""The number of shades of a confusion matrix."""


def write_page(content: ReportContent, path: Path) -> None:
    """Writes the page of a report, atomically.

    Args:
        content: what the page shows.
        path: of the HTML file; its directory is created if it does not exist.

    Raises:
        DiskFullError: no space is left on the disk.
    """
    write_bytes(path, render_page(content).encode())


def render_page(content: ReportContent) -> str:
    """Renders a report as one HTML document.

    Args:
        content: what the page shows. Its texts may hold anything: they are shown as text.

    Returns:
        The document, with its style, scripts, charts and pictures. Its policy lets a browser run these scripts only,
        and load nothing.
    """
    from markupsafe import Markup

    jinja = environment(_TEMPLATES)
    jinja.filters.update(_FILTERS)
    page: str = jinja.get_template("report.html.jinja").render(
        content=content,
        banks=[_bank(number, bank) for number, bank in enumerate(content.banks)],
        single=len(content.banks) == 1,
        data=PageData(),
        css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "report.js").read_text(encoding="utf-8")),
        vega=Markup(javascript()),
    )
    return page


def _bank(number: int, bank: BankReport) -> dict[str, Any]:
    """Returns a bank with an anchor for each of its sections."""
    name = f"bank{number}"
    sections = [
        {"id": f"{name}-{_ANCHORS[kind]}", "kind": kind, "content": section}
        for section in bank.sections
        if (kind := type(section).__name__)
    ]
    return {"id": name, "name": bank.name, "warnings": bank.warnings, "sections": sections, "pictures": bank.pictures}


def _class_bars(section: WhatRan) -> list[dict[str, Any]]:
    """Returns the bar of each class: the place and width of each split's part in percent of the largest class."""
    table = np.array(list(section.counts.values()), np.int64).reshape(len(section.counts), len(section.classes))
    scale = 100 / max(1, int(table.sum(axis=0).max(initial=0)))
    ends = np.cumsum(table, axis=0) * scale
    return [
        {
            "name": name, "total": int(table[:, place].sum()), "samples": section.samples.get(name, ()),
            "parts": [
                {"split": split, "count": count, "x": f"{end - count * scale:.2f}", "width": f"{count * scale:.2f}"}
                for split, count, end in zip(section.counts, table[:, place].tolist(), ends[:, place], strict=True)
            ],
        }
        for place, name in enumerate(section.classes)
    ]  # fmt: skip


def _matrix(section: Confusions) -> list[dict[str, Any]]:
    """Returns the rows of the confusion matrix; the shade of a cell is its share of the row."""
    cells = {(cell.true, cell.predicted): cell for cell in section.cells}
    places = range(len(section.classes))
    rows = []
    for true, name in enumerate(section.classes):
        found = [cells.get((true, predicted)) for predicted in places]
        total = sum(cell.count for cell in found if cell)
        rows.append({
            "name": name, "total": total,
            "cells": [
                {
                    "count": cell.count if cell else 0, "right": predicted == true, "source": cell,
                    "heat": max(1, round(_HEATS * cell.count / total)) if cell and total else 0,
                }
                for predicted, cell in enumerate(found)
            ],
        })  # fmt: skip
    return rows


def _extra_columns(section: Board) -> dict[str, bool]:
    """Returns the names of the further columns of a leaderboard, and whether they hold numbers."""
    names = dict.fromkeys(name for row in section.rows for name in row.values)
    return {name: all(_is_number(row.values.get(name)) for row in section.rows) for name in names}


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool))


def _range(rows: Any) -> tuple[float, float]:
    """Returns the scale on which intervals are drawn; the worst quarter may lie beyond its lower end."""
    ends = np.array([row.interval for row in rows if row.interval], np.float64).reshape(-1, 2)
    return (float(np.quantile(ends[:, 0], 0.25)), float(ends.max())) if len(ends) else (0.0, 1.0)


def _place(value: float, scale: tuple[float, float]) -> str:
    """Returns where a value lies on a scale, in percent."""
    return f"{100 * min(1.0, max(0.0, (value - scale[0]) / max(scale[1] - scale[0], 1e-9))):.1f}"


def _span(ends: tuple[float, float], scale: tuple[float, float]) -> str:
    """Returns the width of the part of an interval that lies on a scale, in percent."""
    return f"{max(1.0, float(_place(ends[1], scale)) - float(_place(ends[0], scale))):.1f}"


def _finite(value: Any) -> float | None:
    """Returns a number with six digits; None for one that is missing or not finite."""
    return float(f"{value:.6g}") if value is not None and np.isfinite(value) else None


def _breakable(text: str) -> Any:
    """Returns a text as HTML that may be broken after "=", where a long name of a head reads best."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace("=", "=<wbr>"))


def _heading(name: str) -> str:
    """Returns the name of a metric as the head of a column."""
    words = one_line(name.replace("_", " ")).replace(" f1", " F1")
    return words[:1].upper() + words[1:]


def _board_range(section: Board) -> tuple[float, float]:
    return _range(section.rows)


def _compared_range(section: Comparison) -> tuple[float, float]:
    return _range(section.banks)


_FILTERS: Mapping[str, Any] = {
    "prose": functools.partial(one_line, most=_PROSE),
    "class_bars": _class_bars,
    "matrix": _matrix,
    "extra_columns": _extra_columns,
    "interval_range": _board_range,
    "compared_range": _compared_range,
    "place": _place,
    "span": _span,
    "finite": _finite,
    "digits": format,
    "breakable": _breakable,
    "heading": _heading,
    "counted": counted,
    "deeper": {"h2": "h3", "h3": "h4", "h4": "h5"}.__getitem__,
}
