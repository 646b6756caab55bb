"""What a head confuses, and whether its probabilities are right.

A page can listen to the signal `cell` of `confusion_matrix`: {"row": [true class], "column": [predicted class]} after a
click, as positions in the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.charts.theme import apply_theme, dataset
from featurebank.system.html import COLOURS
from featurebank.words import counted

if TYPE_CHECKING:
    import altair as alt

__all__ = ["CELLS", "confusion_matrix", "reliability"]

CELLS = 30
"""The largest number of classes whose matrix is drawn whole; of more, the most frequent confusions are."""
_TEXTS = 16
"""The largest number of classes with a count in each cell."""
_TILTED = 12
"""The largest number of classes whose names are all below the columns; of more, some are left out on narrow pages."""
_BARS = 30
_WIDTH, _STEP = 520, 26


def confusion_matrix(counts: np.ndarray, classes: Sequence[str], *, title: str = "") -> alt.LayerChart:
    """Returns a heat map of true and predicted classes: right predictions green, mistakes red, by their share of a row.

    Mistakes are drawn stronger than their share, so that rare ones can be seen.
    Of more than `CELLS` classes, the most frequent confusions are drawn as bars.

    Args:
        counts: (classes, classes) int, the images of each true class (row) and predicted class (column).
        classes: the names of the classes.
        title: the title; none by default.

    Example:
        >>> chart = confusion_matrix(np.array([[3, 1], [0, 2]]), ["ant", "bee"])
        >>> chart.layer[0].mark.type
        'rect'
    """
    counts = np.asarray(counts)
    chart = _heat_map(counts, classes) if len(classes) <= CELLS else _top_confusions(counts, classes)
    return apply_theme(chart.properties(title=title) if title else chart)


def _heat_map(counts: np.ndarray, classes: Sequence[str]) -> alt.LayerChart:
    import altair as alt

    few = len(classes) <= _TILTED
    axis = alt.Axis(labelOverlap=False, labelLimit=110, grid=False, domain=False, ticks=False)
    below = alt.Axis(
        labelOverlap=not few, labelLimit=110, labelAngle=-45 if few else -90, grid=False, domain=False, ticks=False
    )  # fmt: skip
    base = alt.Chart(dataset(_cells(counts, classes))).encode(
        x=alt.X("predicted:N", title="predicted class", sort=_by("column"), axis=below, scale=_bands()),
        y=alt.Y("true:N", title="true class", sort=_by("row"), axis=axis, scale=_bands()),
        tooltip=[
            alt.Tooltip("true:N", title="true class"), alt.Tooltip("predicted:N", title="predicted as"),
            alt.Tooltip("images:Q"), alt.Tooltip("share:Q", title="share of the class", format=".1%"),
        ],
    )  # fmt: skip
    cell = alt.selection_point(name="cell", fields=["row", "column"], on="click", empty=False)
    colours = alt.Scale(domain=[True, False], range=[COLOURS["good"], COLOURS["bad"]])
    cells = base.mark_rect(cursor="pointer").encode(
        color=alt.Color("right:N", scale=colours, legend=None),
        opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.85]), legend=None),
        stroke=alt.when(cell).then(alt.value(COLOURS["val"])).otherwise(alt.value(None)),
        strokeWidth=alt.value(3), strokeOpacity=alt.value(1),
    ).add_params(cell)  # fmt: skip
    layers = [cells]
    if len(classes) <= _TEXTS:
        layers.append(base.mark_text().encode(text=alt.Text("text:N")))
    side = max(_STEP, min(56, _WIDTH // max(1, len(classes)))) if len(classes) <= _TEXTS else _STEP
    return alt.LayerChart(layer=layers).properties(width=side * len(classes), height=side * len(classes))


def _cells(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    return [
        {
            "row": row, "column": column, "true": classes[row], "predicted": classes[column],
            "images": int(counts[row, column]), "share": float(shares[row, column]), "right": row == column,
            "text": str(counts[row, column]) if counts[row, column] else "",
            "strength": float(shares[row, column] if row == column else np.sqrt(shares[row, column])),
        }
        for row in range(len(classes)) for column in range(len(classes))
    ]  # fmt: skip


def _by(name: str) -> alt.EncodingSortField:
    """Sorts by a number: Vega-Lite would write names that it sorts by into an expression."""
    import altair as alt

    return alt.EncodingSortField(name, op="min")


def _bands() -> alt.Scale:
    import altair as alt

    return alt.Scale(paddingInner=0.03, paddingOuter=0)


def _top_confusions(counts: np.ndarray, classes: Sequence[str]) -> alt.LayerChart:
    """Returns a bar for each of the most frequent confusions, below its two classes, which may have long names."""
    import altair as alt

    wrong = counts * ~np.eye(len(classes), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[: min(_BARS, np.count_nonzero(wrong))]
    rows = [
        {
            "order": place, "row": int(row), "column": int(column), "true": classes[row], "predicted": classes[column],
            "images": int(wrong[row, column]), "text": f"{classes[row]} → {classes[column]}",
        }
        for place, (row, column) in enumerate(zip(*np.unravel_index(order, wrong.shape), strict=True))
    ]  # fmt: skip
    cell = alt.selection_point(name="cell", fields=["row", "column"], on="click", empty=False)
    most = max((row["images"] for row in rows), default=1)
    base = alt.Chart(dataset(rows)).encode(
        y=alt.Y("order:O", axis=None, scale=alt.Scale(paddingInner=0.1)),
        tooltip=[
            alt.Tooltip("true:N", title="true class"),
            alt.Tooltip("predicted:N", title="predicted as"),
            "images:Q",
        ],
    )
    bars = base.mark_bar(color=COLOURS["bad"], height=6, yOffset=9, cursor="pointer").encode(
        x=alt.X("images:Q", axis=None, scale=alt.Scale(domain=[0, most])),
        stroke=alt.when(cell).then(alt.value(COLOURS["val"])).otherwise(alt.value(None)), strokeWidth=alt.value(3),
    ).add_params(cell)  # fmt: skip
    names = base.mark_text(align="left", baseline="bottom", dy=3, limit=alt.ExprRef("width - 40")).encode(
        x=alt.value(0), text="text:N"
    )
    numbers = base.mark_text(align="right", baseline="bottom", dy=3).encode(x=alt.value("width"), text="images:Q")
    return alt.LayerChart(layer=[bars, names, numbers]).properties(width=_WIDTH, height=30 * max(1, len(rows)))


def reliability(
    confidence: Sequence[float], accuracy: Sequence[float], images: Sequence[int], error: float
) -> alt.LayerChart:
    """Returns a reliability diagram: the accuracy of predictions by their confidence, beside the diagonal.

    Args:
        confidence: (bins,) the mean confidence of each bin, as in `statistics.CalibrationBins`; bins without images are
            left out.
        accuracy: (bins,) the fraction of right predictions of each bin.
        images: (bins,) the number of predictions of each bin.
        error: the expected calibration error, which the title says.

    References:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.

    Example:
        >>> reliability([0.6, 0.9], [0.5, 0.95], [10, 20], 0.067).title.text
        'expected calibration error 0.067'
    """
    import altair as alt

    rows: list[dict[str, Any]] = [
        {"confidence": float(mean), "accuracy": float(right), "images": int(number)}
        for mean, right, number in zip(confidence, accuracy, images, strict=True)
        if number
    ]  # fmt: skip
    axis, scale = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]), alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", title="confidence", axis=axis, scale=scale)
    y = alt.Y("accuracy:Q", title="accuracy", axis=axis.copy(), scale=scale)
    ends = alt.Chart(dataset([{"confidence": end, "accuracy": end} for end in (0.0, 1.0)]))
    base = alt.Chart(dataset(rows)).encode(x=x, y=y)
    gaps = base.mark_rule(color=COLOURS["bad"], strokeWidth=2, opacity=0.6).encode(y2=alt.Y2("confidence:Q"))
    most = max((row["images"] for row in rows), default=1)
    points = base.mark_point(filled=True, opacity=1, color=COLOURS["val"]).encode(
        size=alt.Size("images:Q", title="images", scale=alt.Scale(domain=[0, most], range=[15, 350]), legend=None),
        tooltip=[
            alt.Tooltip("confidence:Q", format=".3f"), alt.Tooltip("accuracy:Q", format=".3f"), alt.Tooltip("images:Q"),
        ],
    )  # fmt: skip
    diagonal = ends.mark_line(strokeDash=[5, 4], style="soft-rule", strokeWidth=1).encode(x=x, y=y)
    total = counted(sum(row["images"] for row in rows), "image")
    subtitle = [f"{total}; larger points stand for more images", "below the diagonal: too confident"]
    title = alt.TitleParams(f"expected calibration error {error:.3f}", subtitle=subtitle)
    chart = alt.LayerChart(layer=[diagonal, gaps, base.mark_line(color=COLOURS["val"], strokeWidth=1), points])
    return apply_theme(chart.properties(title=title, width=360, height=300))
