"""The course of trainings: accuracy and loss by epoch, training beside validation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.charts.theme import apply_theme, class_scale, dataset, split_scale
from featurebank.errors import ConfigError
from featurebank.system.html import COLOURS, SPLIT_WORDS

if TYPE_CHECKING:
    import altair as alt

__all__ = ["QUANTITIES", "history", "over_fitting"]

QUANTITIES = ("accuracy", "loss")
"""The panels of a history, in their order."""
_SPLITS = {split: SPLIT_WORDS[split] for split in ("train", "val")}
_WORSE, _LATER = 1.03, 3
"""A validation loss that ends above this multiple of its minimum has risen, if so many epochs follow; less is noise."""
_WIDE_RANGE = 50.0
"""Losses are drawn on a logarithmic axis if the largest is this multiple of the smallest."""
_TICKS = 9
_SUBTITLE = ["solid: validation, dashed: training", "ring: best epoch, red band: over-fitting"]
_WIDTH, _HEIGHT = 380, 240
_LABEL = 2 * _WIDTH
"""The largest width of a run's name, which stands above both panels."""
_LINES = (-7, -21)
"""The heights of the two lines of text above a chart: for the best epoch, and for phases and over-fitting."""

CurvesLike = Mapping[str, Any]
"""The curves of a run as in Keras's `History`: "loss", "accuracy", "val_loss", "val_accuracy" with one value for each
epoch, perhaps "phase" with the phase of each epoch, and "best_epoch"; of a fine-tune, "epoch_0" with the validation
results of its start."""


def history(runs: Mapping[str, CurvesLike], *, title: str = "") -> alt.HConcatChart:
    """Returns two panels, accuracy and loss by epoch, of one run or of several.

    Of one run, colours tell training from validation; the best epoch, the beginnings of further phases and the epochs
    that over-fit are marked. Of several runs, each has its colour, training is dashed, rings mark the best epochs, and
    a red band lies under the validation losses that over-fit. Values that are not finite are left out.

    Args:
        runs: the curves of each run, by its name.
        title: the title; none by default.

    Raises:
        ConfigError: none of the runs has curves.

    Example:
        >>> curves = {"accuracy": [0.5, 0.8], "val_accuracy": [0.4, 0.6], "loss": [0.9, 0.4], "val_loss": [1.0, 0.8]}
        >>> chart = history({"softmax": {**curves, "best_epoch": 2}})
        >>> [panel.title.text for panel in chart.hconcat]
        ['accuracy', 'loss']
    """
    import altair as alt

    known = {name: curves for name, curves in runs.items() if _epochs(curves)}
    if not known:
        message = "there are no curves to draw: only heads that are trained in epochs, and fine-tunes, have curves"
        raise ConfigError(message)
    panels = alt.HConcatChart(hconcat=[_panel(known, quantity) for quantity in QUANTITIES], spacing=24)
    shared: alt.HConcatChart = panels.resolve_scale(color="shared")
    return apply_theme(shared.properties(title=title) if title else shared)


def over_fitting(curves: CurvesLike) -> tuple[int, int] | None:
    """Returns the first and the last epoch, from 1, of the part of a training that over-fits; None if none does.

    It begins at the epoch of the lowest validation loss, if at least three epochs follow. In their second half, the
    mean validation loss must be more than 3 % above that around the lowest, and the training loss must be below it.

    Example:
        >>> over_fitting({"loss": [0.9, 0.5, 0.3, 0.2, 0.1], "val_loss": [1.0, 0.7, 0.8, 1.0, 1.2]})
        (2, 5)
        >>> over_fitting({"loss": [0.9, 0.5, 0.3], "val_loss": [1.0, 0.7, 0.6]}) is None
        True
    """
    train, val = _values(curves, "loss"), _values(curves, "val_loss")
    known = np.flatnonzero(np.isfinite(val[: len(train)]) & np.isfinite(train[: len(val)]))
    if len(known) < _LATER:
        return None
    place = int(np.argmin(val[known]))
    lowest, later = int(known[place]), known[place + 1 :]
    if len(later) < _LATER:
        return None
    end = later[len(later) // 2 :]
    around = val[known[max(0, place - 1) : place + 2]].mean()
    over = val[end].mean() > _WORSE * around and train[end].mean() < train[lowest]
    return (lowest + 1, int(later[-1]) + 1) if over else None


def _panel(runs: Mapping[str, CurvesLike], quantity: str) -> alt.LayerChart:
    import altair as alt

    rows = [
        row for name, curves in runs.items() for row in _rows(name, curves, quantity)
    ]  # fmt: skip
    base = alt.Chart(dataset(rows)).encode(
        x=_epoch_axis(runs), y=_value_axis(quantity, [row["value"] for row in rows])
    )  # fmt: skip
    flags = {flag for flag in ("alone", "best", "over") if any(row[flag] for row in rows)}
    layers = (
        _one(base, next(iter(runs.values())), flags) if len(runs) == 1 else _several(base, list(runs), quantity, flags)
    )
    title = alt.TitleParams(quantity, subtitle=_SUBTITLE if len(runs) > 1 else [])
    return alt.LayerChart(layer=layers).properties(title=title, width=_WIDTH, height=_HEIGHT)


def _one(base: alt.Chart, curves: CurvesLike, flags: set[str]) -> list[alt.Chart]:
    """Returns the layers of one run: marks behind the lines, the lines, and points for the tooltip."""
    import altair as alt

    colour = alt.Color("split:N", title=None, scale=split_scale(_SPLITS), legend=alt.Legend(symbolType="stroke"))
    lines = base.encode(color=colour)
    return [*_marks(curves), *_lines(lines, flags), _points(lines)]


def _several(base: alt.Chart, names: list[str], quantity: str, flags: set[str]) -> list[alt.Chart]:
    """Returns the layers of several runs, each in its colour."""
    import altair as alt

    scale = class_scale(len(names))
    scale.domain = names  # explicit: Vega cannot lay out a legend without entries, if none has this quantity
    legend = alt.Legend(columns=1, symbolType="stroke", labelLimit=_LABEL)
    lines = base.encode(color=alt.Color("run:N", title=None, scale=scale, legend=legend))
    dashes = alt.Scale(domain=list(_SPLITS.values()), range=[[5, 4], [1, 0]])
    dash = alt.StrokeDash("split:N", scale=dashes, legend=None)
    layers = _lines(lines.encode(strokeDash=dash), flags)
    if "over" in flags and quantity == "loss":
        band = base.mark_line(color=COLOURS["bad"], strokeWidth=9, opacity=0.3, strokeCap="round")
        layers.insert(0, band.transform_filter("datum.over").encode(detail=["run:N", "part:N"]))
    if "best" in flags:
        layers.append(lines.transform_filter("datum.best").mark_point(size=90, filled=False, strokeWidth=2))
    return [*layers, _points(lines)]


def _lines(base: alt.Chart, flags: set[str]) -> list[alt.Chart]:
    """Returns the lines, and points for values that have no neighbour to draw a line to.

    Vega warns of layers without rows: so there are none.
    """
    lines = [base.mark_line(strokeWidth=2).encode(detail=["run:N", "part:N"])]
    points = base.transform_filter("datum.alone").mark_point(size=25, filled=True, opacity=1)
    return [*lines, *([points] if "alone" in flags else [])]


def _points(base: alt.Chart) -> alt.Chart:
    """Returns invisible points, which have the tooltips."""
    import altair as alt

    points: alt.Chart = base.mark_point(size=140, opacity=0, filled=True).encode(
        tooltip=[
            alt.Tooltip("run:N"), alt.Tooltip("split:N", title="images"), alt.Tooltip("epoch:Q"),
            alt.Tooltip("value:Q", format=".4~f"),
        ]
    )  # fmt: skip
    return points


def _marks(curves: CurvesLike) -> list[alt.Chart]:
    """Returns what lies behind the lines of one run: over-fitting, the beginnings of phases, and the best epoch."""
    import altair as alt

    layers = []
    span = over_fitting(curves)
    if span:
        region = alt.Chart(dataset([{"from": span[0], "to": span[1], "label": "over-fitting"}]))
        rect = region.mark_rect(color=COLOURS["bad"], opacity=0.13).encode(x=alt.X("from:Q"), x2=alt.X2("to:Q"))
        text = region.mark_text(align="right", color=COLOURS["bad"], fontWeight=600)
        layers += [rect, text.encode(x=alt.X("to:Q"), y=alt.value(_LINES[1]), text="label:N")]
    last = _epochs(curves)
    for number, begin in _phases(curves):
        layers += _vertical(begin - 0.5, f"phase {number}", (2, 3), last, y=_LINES[1])
    best = int(curves.get("best_epoch") or 0)
    if best or curves.get("epoch_0"):
        layers += _vertical(best, f"best epoch {best}", (5, 4), last, y=_LINES[0])
    return layers


def _vertical(place: float, label: str, dash: Sequence[int], last: int, *, y: int) -> list[alt.Chart]:
    """Returns a vertical line at an epoch, with a label above the chart."""
    import altair as alt

    right = place > 0.6 * last
    base = alt.Chart(dataset([{"at": place, "label": label}])).encode(x=alt.X("at:Q"))
    text = base.mark_text(align="right" if right else "left", dx=-5 if right else 5, style="soft")
    return [
        base.mark_rule(strokeDash=list(dash), style="soft-rule"),
        text.encode(y=alt.value(y), text="label:N"),
    ]


def _rows(name: str, curves: CurvesLike, quantity: str) -> Iterator[dict[str, Any]]:
    """Yields a row for each split and epoch whose value is finite; after a gap, another part of the line begins.

    Nulls in place of the others would be at minus infinity on a logarithmic axis, which breaks the layout of Vega.
    """
    span = over_fitting(curves) or (0, -1)
    best = int(curves.get("best_epoch") or 0)
    for split, prefix in (("train", ""), ("val", "val_")):
        values, first = _values(curves, f"{prefix}{quantity}"), 1
        if split == "val" and (start := curves.get("epoch_0")):
            values, first = np.concatenate([[_number(start.get(quantity))], values]), 0
        known = np.flatnonzero(np.isfinite(values))
        parts = known - np.arange(len(known))  # equal as long as no epoch is left out
        lengths = np.bincount(parts, minlength=1)
        for place, part in zip(known.tolist(), parts.tolist(), strict=True):
            epoch = place + first
            yield {
                "run": name, "split": _SPLITS[split], "epoch": epoch, "value": float(values[place]),
                "part": part, "alone": int(lengths[part]) == 1,
                "over": split == "val" and span[0] <= epoch <= span[1], "best": split == "val" and epoch == best,
            }  # fmt: skip


def _epoch_axis(runs: Mapping[str, CurvesLike]) -> alt.X:
    import altair as alt

    first = 0 if any(curves.get("epoch_0") for curves in runs.values()) else 1
    last = max(_epochs(curves) for curves in runs.values())
    step = next(step for step in _steps() if (last - first) / step <= _TICKS)
    ticks = [epoch for epoch in range(first, last + 1) if epoch % step == 0]
    axis = alt.Axis(values=ticks, format="d", grid=False)
    domain = [first, last] if first < last else [first - 1, last + 1]
    return alt.X("epoch:Q", title="epoch", axis=axis, scale=alt.Scale(domain=domain, nice=False, padding=8))


def _steps() -> Iterator[int]:
    """Yields 1, 2, 5, 10, 20, 50, ..."""
    return (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))


def _value_axis(quantity: str, values: Sequence[float]) -> alt.Y:
    """Returns the axis of a quantity: accuracies in percent, losses that span a wide range on a logarithmic axis."""
    import altair as alt

    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = (low - 0.01, high + 0.01) if quantity == "accuracy" else (0.9 * low, 1.1 * high or 1.0)
    wide = quantity == "loss" and low > 0 and high / low > _WIDE_RANGE
    # The domain is explicit: Vega would compute it from each layer, and it warns of layers without values.
    scale = alt.Scale(type="log" if wide else "linear", domain=[low, high], nice=not wide)
    axis = alt.Axis(format=".2~%" if quantity == "accuracy" else ".3~g", tickCount=6)
    if wide:  # lines at powers of ten alone: those between them would hide the curves
        axis.values = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    return alt.Y("value:Q", title=None, axis=axis, scale=scale)


def _phases(curves: CurvesLike) -> list[tuple[int, int]]:
    """Returns number and first epoch of each phase of a fine-tune but the first, whose beginning needs no mark."""
    phases = list(curves.get("phase", ()))
    return [
        (int(phase), epoch) for epoch, (before, phase) in enumerate(itertools.pairwise(phases), 2) if phase != before
    ]


def _epochs(curves: CurvesLike) -> int:
    return max(len(_values(curves, f"{prefix}{name}")) for name in QUANTITIES for prefix in ("", "val_"))


def _values(curves: CurvesLike, name: str) -> np.ndarray:
    """Returns a curve as (epochs,) float64, with NaN for None; empty if it was not recorded."""
    return np.array([_number(value) for value in curves.get(name, ())], np.float64)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
