"""The HTML page of `featurebank inspect -o`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.inspection.advice import advise, number
from featurebank.inspection.survey import GROUPS_PICTURED, PLACES_PICTURED, Distribution, ImagePlace
from featurebank.system.files import write_bytes
from featurebank.system.html import TINY, data_uri, environment

if TYPE_CHECKING:
    from featurebank.inspection.stage import Inspection

_UNREADABLE = 200
_CLASSES = 500
_ENLARGED = 64


def write_page(report: Inspection, path: Path) -> None:
    """Writes the page of an inspection, atomically.

    Args:
        report: the inspection to show.
        path: of the HTML file; its directory is created if it does not exist.

    Raises:
        DiskFullError: no space is left on the disk.
    """
    write_bytes(path, render_page(report).encode())


def render_page(report: Inspection) -> str:
    """Renders an inspection as one HTML document that contains all its pictures."""
    template = environment(Path(__file__).parent / "templates").get_template("inspect.html.jinja")
    text: str = template.render(
        report=report,
        advice=advise(report),
        number=number,
        classes=_classes(report),
        class_totals=report.class_totals,
        histograms=_histograms(report),
        one_size=report.one_size,
        unreadable=report.unreadable[:_UNREADABLE],
        groups=_groups(report),
        pairs=_pairs(report),
        picture=_picture,
    )
    return text


def _classes(report: Inspection) -> list[dict[str, Any]]:
    """Returns the bar of each class: the width of each split's part in percent of the largest class."""
    totals = report.class_totals
    largest = max(1, *totals.values())
    return [
        {
            "name": name, "total": totals[name],
            "parts": [(split, row[name], f"{100 * row[name] / largest:.3f}") for split, row in report.counts.items()],
        }
        for name in report.classes[:_CLASSES]
    ]  # fmt: skip


def _histograms(report: Inspection) -> list[dict[str, Any]]:
    measures = {
        "width in pixels": report.sizes["width"], "height in pixels": report.sizes["height"],
        "width / height": report.aspect_ratios, "megapixels": report.sizes["megapixels"],
    }  # fmt: skip
    return [_histogram(name, values) for name, values in measures.items()]


def _histogram(name: str, values: Distribution) -> dict[str, Any]:
    """Returns the rectangles of a histogram of 200 x 60 units; the smallest is still visible."""
    low, median, high = (values.quantiles[key] for key in ("min", "median", "max"))
    most, width = max(values.counts, default=1), 200 / max(1, len(values.counts))
    bars = [
        {
            "x": f"{index * width:.2f}", "y": f"{60 - height:.2f}",
            "width": f"{width - 1:.2f}", "height": f"{height:.2f}",
            "title": f"{_short(values.edges[index])} to {_short(values.edges[index + 1])}: {number(count, 'image')}",
        }
        for index, count in enumerate(values.counts)
        if (height := max(1.5, 58 * count / most) if count else 0)
    ]  # fmt: skip
    middle = 200 * math.log(median / low) / math.log(high / low) if high > low else 100
    ends = {"low": _short(low), "median": _short(median), "high": _short(high)}
    return {"name": name, "bars": bars, "middle": f"{middle:.2f}", **ends}


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits, at least


def _groups(report: Inspection) -> list[dict[str, Any]]:
    groups = report.duplicates.groups[:GROUPS_PICTURED]
    return [_group(report, group.images, {"flag": group.differ_in}) for group in groups]


def _group(report: Inspection, places: tuple[ImagePlace, ...], more: Mapping[str, Any]) -> dict[str, Any]:
    shown = [(place, report.thumbnails.get(place.id)) for place in places[:PLACES_PICTURED]]
    return {**more, "places": shown, "hidden": len(places) - len(shown)}


def _pairs(report: Inspection) -> list[dict[str, Any]]:
    near = report.near_duplicates
    pairs = near.pairs[:GROUPS_PICTURED] if near else ()
    return [_group(report, (pair.a, pair.b), {"cosine": f"{pair.cosine:.4f}"}) for pair in pairs]


def _picture(image: np.ndarray | None) -> dict[str, Any] | None:
    """Returns a picture as a data URL, and its size on the page."""
    if image is None:
        return None
    height, width = image.shape[:2]
    side = max(height, width)
    tiny = side <= TINY
    scale = _ENLARGED / side if tiny else 1
    return {
        "source": data_uri(image), "tiny": tiny,
        "width": max(1, round(width * scale)), "height": max(1, round(height * scale)),
    }  # fmt: skip
