"""The look of all charts: one palette and one Vega configuration for light pages and for dark ones.

A chart does not name the colour of its text, lines or background: the configuration does. So one chart serves both
kinds of pages. Only the colours of splits stand in the charts; they can be read on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from featurebank.system.html import COLOURS

if TYPE_CHECKING:
    import altair as alt

__all__ = ["SHAPED", "apply_theme", "class_scale", "config", "dataset", "split_scale"]

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
"""The font of pages; files use Liberation Sans, which vl-convert carries."""
_INK = {False: "#1b1f24", True: "#e7eaee"}
_SOFT = {False: "#5b6470", True: "#9aa4b1"}
_LINE = {False: "#d9dee5", True: "#333a44"}
_PAGE = {False: "#ffffff", True: "#14171c"}
_CATEGORIES = {
    False: [
        "#3f90da", "#e08a00", "#bd1f01", "#7f8c8a", "#832db6", "#a96b59", "#e76300", "#9c914a", "#54606b", "#2fa4ab",
    ],
    True: [
        "#5ba7ee", "#ffb437", "#f2543a", "#a9b7b5", "#b877e6", "#c98d7b", "#ff8a3d", "#cfc384", "#8d99a6", "#92dadd",
    ],
}  # fmt: skip
SHAPED = len(_CATEGORIES[False])
"""The number of classes that have a colour of their own; more classes get colours that are harder to tell apart."""
_SIZE = 12

AnyChart = TypeVar("AnyChart", bound="alt.TopLevelMixin")


def config(*, dark: bool = False) -> dict[str, Any]:
    """Returns the configuration of Vega-Lite for light or for dark pages, as JSON values.

    The categories are Petroff's ten, chosen for people who see colours differently; yellows and the dark ones are
    shifted for contrast with the page.

    References:
        Petroff, "Accessible Color Sequences for Data Visualization", 2021, arXiv:2107.02270.

    Example:
        >>> config(dark=True)["background"], len(config()["range"]["category"])
        ('#14171c', 10)
    """
    ink, soft, line = _INK[dark], _SOFT[dark], _LINE[dark]
    axis = {
        "labelColor": soft, "titleColor": ink, "gridColor": line, "domainColor": line, "tickColor": line,
        "labelFontSize": _SIZE, "titleFontSize": _SIZE, "titleFontWeight": "normal", "titlePadding": 8,
        "labelLimit": 160, "labelOverlap": True,
    }  # fmt: skip
    legend = {
        "labelColor": ink, "titleColor": ink, "labelFontSize": _SIZE, "titleFontSize": _SIZE, "labelLimit": 220,
        "titleFontWeight": "normal", "symbolStrokeWidth": 2, "orient": "top", "titleLimit": 300,
        "symbolBaseStrokeColor": soft,
    }  # fmt: skip
    return {
        "background": _PAGE[dark], "font": FONT, "padding": 8, "axis": axis, "legend": legend,
        "title": {
            "color": ink, "subtitleColor": soft, "fontSize": 14, "subtitleFontSize": _SIZE, "anchor": "start",
            "fontWeight": 600, "offset": 10,
        },
        "text": {"color": ink, "fontSize": 11}, "rule": {"color": soft}, "view": {"stroke": line},
        "range": {"category": _CATEGORIES[dark]},
        "style": {"soft": {"fill": soft, "fontSize": 11}, "soft-rule": {"stroke": soft}, "page": {"fill": _PAGE[dark]}},
    }  # fmt: skip


def apply_theme(chart: AnyChart, *, dark: bool = False) -> AnyChart:
    """Returns a chart with the configuration of light pages or of dark ones, as it is shown in a notebook or a file."""
    untyped: Any = chart
    untyped = untyped.copy(deep=False)
    untyped.config = config(dark=dark)
    themed: AnyChart = untyped
    return themed


def class_scale(count: int) -> alt.Scale:
    """Returns the colours of some classes: those of the theme, twenty others, or shades of the rainbow.

    Args:
        count: the number of classes.
    """
    import altair as alt

    if count <= SHAPED:
        return alt.Scale()
    return alt.Scale(scheme="tableau20" if count <= 2 * SHAPED else "turbo")


def split_scale(splits: Mapping[str, str]) -> alt.Scale:
    """Returns the colours of splits, which are those of the displays in notebooks.

    Args:
        splits: the word for each split, as {"train": "training"}.
    """
    import altair as alt

    return alt.Scale(domain=list(splits.values()), range=[COLOURS[split] for split in splits])


def dataset(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns rows as the data of a chart. Altair's limit of 5000 rows holds for data frames, and not for these."""
    return {"values": [dict(row) for row in rows]}
