"""The page of `featurebank inspect -o`."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featurebank.inspection.advice import advise, number
from featurebank.inspection.stage import GROUPS_PICTURED, PLACES_PICTURED, Inspection
from featurebank.inspection.survey import Distribution, ImagePlace
from featurebank.system.files import write_bytes

_UNREADABLE = 200
_CLASSES = 500
_TINY = 40
"""Images up to this side are enlarged, and stored without loss: at 32 pixels, what JPEG does is seen."""
_ENLARGED = 64
_QUALITY = 85


def write_page(found: Inspection, path: Path) -> None:
    """Writes the page of an inspection, atomically.

    Args:
        found: what to show.
        path: of the HTML file; its folder is made if it is not there.

    Raises:
        DiskFullError: no space is left.
    """
    write_bytes(path, render_page(found).encode())


def render_page(found: Inspection) -> str:
    """Returns the page of an inspection: one HTML document with all its pictures inside."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # ids are names of files, which may be anything
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = _picture
    return environment.get_template("inspect.html.jinja").render(
        found=found,
        advice=advise(found),
        number=number,
        classes=_classes(found),
        class_totals=found.class_totals,
        histograms=_histograms(found),
        one_size=found.one_size,
        unreadable=found.unreadable[:_UNREADABLE],
        groups=_groups(found),
        pairs=_pairs(found),
    )


def _classes(found: Inspection) -> list[dict[str, Any]]:
    """Returns for each class its bar: the width of each split's part in percent of the largest class."""
    totals = found.class_totals
    largest = max(1, *totals.values())
    return [
        {
            "name": name, "total": totals[name],
            "parts": [(split, row[name], f"{100 * row[name] / largest:.3f}") for split, row in found.counts.items()],
        }
        for name in found.classes[:_CLASSES]
    ]  # fmt: skip


def _histograms(found: Inspection) -> list[dict[str, Any]]:
    measures = {
        "width in pixels": found.sizes["width"], "height in pixels": found.sizes["height"],
        "width / height": found.aspect_ratios, "megapixels": found.sizes["megapixels"],
    }  # fmt: skip
    return [_histogram(name, values) for name, values in measures.items()]


def _histogram(name: str, values: Distribution) -> dict[str, Any]:
    """Returns the rectangles of a histogram of 200 x 60 units, the smallest of which can still be seen."""
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


def _groups(found: Inspection) -> list[dict[str, Any]]:
    groups = found.duplicates.groups[:GROUPS_PICTURED]
    return [_group(found, group.images, {"flag": group.differ_in}) for group in groups]


def _group(found: Inspection, places: tuple[ImagePlace, ...], more: Mapping[str, Any]) -> dict[str, Any]:
    shown = [(place, found.thumbnails.get(place.id)) for place in places[:PLACES_PICTURED]]
    return {**more, "places": shown, "hidden": len(places) - len(shown)}


def _pairs(found: Inspection) -> list[dict[str, Any]]:
    near = found.near_duplicates
    pairs = near.pairs[:GROUPS_PICTURED] if near else ()
    return [_group(found, (pair.a, pair.b), {"cosine": f"{pair.cosine:.4f}"}) for pair in pairs]


def _picture(image: np.ndarray | None) -> dict[str, Any] | None:
    """Returns the address of a picture (its data) and its size on the page."""
    if image is None:
        return None
    height, width = image.shape[:2]
    side = max(height, width)
    tiny = side <= _TINY
    buffer = io.BytesIO()
    if tiny:
        Image.fromarray(image).save(buffer, "PNG", optimize=True)
    else:
        Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    scale = _ENLARGED / side if tiny else 1
    return {
        "source": f"data:image/{'png' if tiny else 'jpeg'};base64,{text}", "tiny": tiny,
        "width": max(1, round(width * scale)), "height": max(1, round(height * scale)),
    }  # fmt: skip
