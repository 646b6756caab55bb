"""What a head gains by not answering: its error against the share of images that it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from featurebank.charts.theme import apply_theme, dataset
from featurebank.system.html import COLOURS

if TYPE_CHECKING:
    import altair as alt

_WIDTH, _HEIGHT = 360, 240


def risk_coverage(
    curve: Sequence[tuple[float, float]], choices: Sequence[tuple[float, float, float]] = (), *, title: str = ""
) -> alt.LayerChart:
    """Returns the error among the answered images against the share answered, with some thresholds as points.

    Args:
        curve: pairs of the share answered and the error among the answered.
        choices: for each threshold, the error that was asked for, the share answered and its error.
        title: the title.

    Example:
        >>> chart = risk_coverage([(0.5, 0.0), (1.0, 0.1)], [(0.02, 0.5, 0.0)])
        >>> [layer.mark.type for layer in chart.layer]
        ['line', 'point']
    """
    import altair as alt

    axis = alt.Axis(format="%")
    x = alt.X("answered:Q", title="images answered", axis=axis, scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("error:Q", title="error among them", axis=alt.Axis(format="~%"))
    rows = [{"answered": share, "error": error} for share, error in curve]
    line = alt.Chart(dataset(rows)).mark_line(color=COLOURS["val"], interpolate="step-after").encode(x=x, y=y)
    tooltip: list[Any] = [
        alt.Tooltip("target:Q", title="asked for", format="~%"), alt.Tooltip("answered:Q", format=".1%"),
        alt.Tooltip("error:Q", format=".1%"),
    ]  # fmt: skip
    points = [{"target": target, "answered": share, "error": error} for target, share, error in choices]
    layer = alt.Chart(dataset(points)).mark_point(filled=True, size=70, opacity=1, color=COLOURS["good"])
    chart = alt.LayerChart(layer=[line, layer.encode(x=x, y=y, tooltip=tooltip)])
    heading = alt.TitleParams(
        title or "error against the share answered", subtitle="points: thresholds for a requested error"
    )
    return apply_theme(chart.properties(title=heading, width=_WIDTH, height=_HEIGHT))
