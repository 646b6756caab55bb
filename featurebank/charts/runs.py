"""Heads in comparison: accuracy against cost, and the effect of each axis of a grid.

A page can listen to what its reader selects. The signals of `accuracy_against` are

- `picked`: the head that was clicked, as {"id": [id]}; {} after a click on nothing;
- `brushed`: the ranges that were selected with the mouse, as {"seconds": [low, high], "accuracy": [low, high]}, or with
  "parameters"; {} after a double click;
- `highlighted`: the id of a head that the page wants to be seen, which the page itself sets.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from featurebank.charts.theme import apply_theme, class_scale, dataset
from featurebank.errors import ConfigError
from featurebank.system.html import COLOURS
from featurebank.words import counted, shown

if TYPE_CHECKING:
    import altair as alt

__all__ = ["COSTS", "Cost", "HeadPoint", "accuracy_against", "axes_of", "axis_effects"]

Cost = Literal["seconds", "parameters", "seconds an image", "bytes an image", "images a second"]
COSTS: tuple[Cost, ...] = ("seconds", "parameters", "seconds an image", "bytes an image", "images a second")
_TITLES = {cost: cost for cost in COSTS} | {"seconds": "seconds of training"}
_LEAST = 1e-3
"""Durations below this many seconds are drawn here, because a logarithmic axis has no zero."""
_AXES, _VALUES = 12, 20
"""Largest number of axes that are drawn, and of values of each."""
_COMMON = ("head", "tap", "views")
"""The axes that all kinds share."""
_WIDTH, _HEIGHT, _STEP = 640, 320, 24


@dataclasses.dataclass(frozen=True)
class HeadPoint:
    """One head of a leaderboard, over its seeds and folds."""

    id: str
    """What identifies it, as the id of its first run."""
    title: str
    """Its name and parameters, for people."""
    kind: str
    accuracy: float
    """Mean validation accuracy."""
    low: float
    """The lower end of its 95 % interval."""
    high: float
    seconds: float
    parameters: float | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its parameters, and perhaps "tap" and "views"."""
    tied: bool = False
    """Whether it cannot be told apart from the best head."""
    group: str = ""
    """What its colour stands for; by default its kind."""
    costs: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Its other costs by their names."""

    def cost(self, name: Cost) -> float | None:
        """Returns a cost; None if it is not known."""
        return {"seconds": self.seconds, "parameters": self.parameters, **self.costs}.get(name)


def accuracy_against(points: Sequence[HeadPoint], cost: Cost = "seconds", *, title: str = "") -> alt.LayerChart:
    """Returns the accuracy of heads against what they cost, on a logarithmic axis; one point with an interval each.

    Args:
        points: the heads. Those whose cost is not known are left out.
        cost: one of `COSTS`: "seconds" are those of training, and of "images a second" more are better.
        title: the title.

    Raises:
        ConfigError: the cost of no head is known.

    Example:
        >>> svm = HeadPoint("0123456789", "svm C=1", "svm", 0.91, 0.88, 0.93, seconds=0.4)
        >>> accuracy_against([svm]).to_dict()["layer"][1]["mark"]["type"]
        'point'
    """
    import altair as alt

    if not points:
        message = "there is no head to draw: train some first"
        raise ConfigError(message)
    rows = [_row(place, point, cost) for place, point in enumerate(points) if point.cost(cost) is not None]
    if not rows:
        message = f"there is no head to draw: the {_TITLES[cost]} of {counted(len(points), 'head')} are not known"
        raise ConfigError(message)
    base = alt.Chart(dataset(rows)).encode(x=_cost_axis(cost, [row[cost] for row in rows]), y=_accuracy_axis(rows))
    heading = alt.TitleParams(
        title or f"accuracy against {_TITLES[cost]}", subtitle=_remarks(rows, len(points) - len(rows), cost)
    )
    chart = alt.LayerChart(layer=_layers(base, rows, cost))
    chart = chart.add_params(alt.param(name="highlighted", value="")).properties(width=_WIDTH, height=_HEIGHT)
    return apply_theme(chart.properties(title=heading))


def _layers(base: alt.Chart, rows: Sequence[Mapping[str, Any]], cost: Cost) -> list[alt.Chart]:
    """Returns intervals, and points that can be selected."""
    import altair as alt

    kinds = len({row["kind"] for row in rows})
    picked = alt.selection_point(name="picked", fields=["id"], on="click", empty=True)
    brushed = alt.selection_interval(name="brushed", empty=True)
    legend = alt.Legend(columns=2, symbolType="circle", symbolOpacity=1, symbolStrokeWidth=2)
    is_selected = alt.when(picked, brushed)
    coloured = base.encode(color=alt.Color("kind:N", title=None, scale=class_scale(kinds), legend=legend))
    rings = coloured.mark_point(strokeWidth=1.5).encode(
        size=alt.condition("datum.id === highlighted", alt.value(300), alt.value(60)),
        opacity=is_selected.then(alt.value(1)).otherwise(alt.value(0.15)),
        tooltip=_tooltip(cost), description="title:N",
    )  # fmt: skip
    intervals = coloured.mark_rule(clip=True, aria=False).encode(
        y=_accuracy_axis(rows, "low"), y2=alt.Y2("high:Q"),
        opacity=is_selected.then(alt.value(0.3)).otherwise(alt.value(0.05)),
    )  # fmt: skip
    layers = [intervals, rings.add_params(picked, brushed)]
    if any(row["tied"] for row in rows):
        layers.append(rings.transform_filter("datum.tied").mark_point(filled=True, aria=False))
    return layers


def _tooltip(cost: Cost) -> list[alt.Tooltip]:
    import altair as alt

    whole = cost in {"parameters", "bytes an image"}
    return [
        alt.Tooltip("title:N", title="head"), alt.Tooltip("accuracy:Q", format=".4f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip(f"{cost}:Q", format=",.0f" if whole else ".3~g"),
    ]  # fmt: skip


def _row(place: int, point: HeadPoint, cost: Cost) -> dict[str, Any]:
    value = float(point.cost(cost) or 0)
    return {
        "id": point.id, "place": place, "title": point.title, "kind": point.group or point.kind,
        "accuracy": float(point.accuracy),
        "low": float(point.low), "high": float(point.high), "tied": bool(point.tied),
        "interval": f"{point.low:.3f} to {point.high:.3f}",
        cost: max(value, _LEAST if cost.startswith("seconds") else 1.0),
    }  # fmt: skip


def _remarks(rows: Sequence[Mapping[str, Any]], omitted: int, cost: Cost) -> list[str]:
    tied = sum(row["tied"] for row in rows)
    remarks = ["filled: cannot be told apart from the best"] if 0 < tied < len(rows) else []
    if omitted:
        remarks.append(f"{counted(omitted, 'head')} without known {_TITLES[cost]}")
    floor = _usual([row["accuracy"] for row in rows])
    if below := sum(row["accuracy"] < floor for row in rows):
        remarks.append(f"at the lower edge: {counted(below, 'head')} far below the others")
    return remarks


def _cost_axis(cost: Cost, values: Sequence[float]) -> alt.X:
    """Returns a logarithmic axis with ticks at powers of ten, and between them if it is short."""
    import altair as alt

    low, high = min(values), max(values)
    low, high = (low / 1.5, high * 1.5) if high / low < 10 else (low / 1.1, high * 1.1)  # noqa: PLR2004 - a decade
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if len(powers) < 4 else (1,)  # noqa: PLR2004
    ticks = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
    axis = alt.Axis(values=ticks, format="~g" if cost.startswith("seconds") else "~s", grid=False)
    title = f"{_TITLES[cost]} (logarithmic)"
    return alt.X(f"{cost}:Q", title=title, axis=axis, scale=alt.Scale(type="log", domain=[low, high], nice=False))


def _accuracy_axis(rows: Sequence[Mapping[str, Any]], name: str = "accuracy") -> alt.Y:
    """Returns the axis from the lowest usual accuracy to the end of the highest interval."""
    import altair as alt

    low, high = _usual([row["accuracy"] for row in rows]), max(row["high"] for row in rows)
    scale = _accuracy_scale(max(0.0, low - 0.05 * max(high - low, 0.02)), high)
    return alt.Y(f"{name}:Q", title="validation accuracy", axis=alt.Axis(format=".2~%", tickCount=6), scale=scale)


def _accuracy_scale(low: float, high: float) -> alt.Scale:
    """Returns a scale that draws what lies outside at its ends."""
    import altair as alt

    return alt.Scale(domain=[low, max(high, low + 0.01)], nice=True, clamp=True)


def _usual(accuracies: Sequence[float]) -> float:
    """Returns the lowest accuracy that is no outlier: a single head at chance would press all others together.

    References:
        Tukey, "Exploratory Data Analysis", 1977: values beyond three times the range between the quartiles are far out.
    """
    first, third = np.percentile(accuracies, [25, 75])
    return float(min(value for value in accuracies if value >= first - 3 * max(third - first, 0.02)))


def axes_of(points: Iterable[HeadPoint]) -> dict[str, dict[str, list[float]]]:
    """Returns the accuracies for each value of each axis of a grid: {axis: {value: accuracies}}.

    The axes are "head", the settings that are not those of one kind ("tap", "views"), and each parameter of each kind,
    as "svm: C", if it has several values. Parameters whose values differ most in their mean accuracy come first.

    Example:
        >>> first = HeadPoint("0123456789", "svm C=1", "svm", 0.81, 0.78, 0.83, seconds=0.4, settings={"C": 1})
        >>> axes_of([first, dataclasses.replace(first, accuracy=0.9, settings={"C": 10})])
        {'svm: C': {'1': [0.81], '10': [0.9]}}
    """
    axes: dict[str, dict[Any, list[float]]] = {}
    for point in points:
        names = {"head": point.kind, **{_axis(name, point.kind): value for name, value in point.settings.items()}}
        for name, value in names.items():
            axes.setdefault(name, {}).setdefault(_Value.of(value), []).append(point.accuracy)
    several = {name: values for name, values in axes.items() if len(values) > 1}
    spread = {name: float(np.ptp([np.mean(group) for group in values.values()])) for name, values in several.items()}
    order = sorted(several, key=lambda name: (name not in _COMMON, -spread[name]))
    return {name: {value.text: several[name][value] for value in sorted(several[name])} for name in order}


def _axis(name: str, kind: str) -> str:
    return name if name in _COMMON else f"{kind}: {name}"


@dataclasses.dataclass(frozen=True, order=True)
class _Value:
    """The value of a setting, in the order in which it is drawn: numbers by size, then texts."""

    rank: tuple[int, float]
    text: str

    @classmethod
    def of(cls, value: Any) -> _Value:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        text = f"{value:g}" if is_number else value if isinstance(value, str) else shown(value)
        return cls((0, float(text)) if is_number else (1, 0.0), text)  # those that are shown alike are one value


def axis_effects(axes: Mapping[str, Mapping[str, Sequence[float]]]) -> alt.VConcatChart:
    """Returns a panel for each axis of a grid: the accuracy of each head by its value on the axis, and their mean.

    Args:
        axes: accuracies by axis and value, as from `axes_of`; at most twelve axes with at most twenty values are drawn.

    Raises:
        ConfigError: there is no axis.

    Example:
        >>> chart = axis_effects({"svm: C": {"1": [0.8, 0.82], "10": [0.9]}})
        >>> [panel.title.text for panel in chart.vconcat]
        ['svm: C']
    """
    import altair as alt

    if not axes:
        message = "there is no axis to draw: all heads have the same settings; train a grid with several values"
        raise ConfigError(message)
    every = [accuracy for values in axes.values() for group in values.values() for accuracy in group]
    scale = _accuracy_scale(_usual(every), max(every))
    panels = [_effect(name, values, scale) for name, values in list(axes.items())[:_AXES]]
    return apply_theme(alt.VConcatChart(vconcat=panels, spacing=18))


def _effect(name: str, values: Mapping[str, Sequence[float]], scale: alt.Scale) -> alt.LayerChart:
    import altair as alt

    drawn = list(values.items())[:_VALUES]
    rows = [
        {"value": value, "order": order, "accuracy": accuracy, "mean": float(np.mean(group)), "heads": len(group)}
        for order, (value, group) in enumerate(drawn) for accuracy in group
    ]  # fmt: skip
    axis = alt.Axis(format=".2~%", tickCount=6)
    base = alt.Chart(dataset(rows)).encode(
        y=alt.Y("value:N", title=None, sort=alt.EncodingSortField("order", op="min")),
        tooltip=[
            alt.Tooltip("value:N"), alt.Tooltip("heads:Q"), alt.Tooltip("mean:Q", title="mean accuracy", format=".4f"),
        ],
    )  # fmt: skip
    ticks = base.mark_tick(thickness=2, opacity=0.45, color=COLOURS["train"], size=_STEP - 10)
    means = base.mark_point(shape="diamond", size=90, filled=True, opacity=1, color=COLOURS["val"])
    below = any(row["accuracy"] < scale["domain"][0] for row in rows)
    label = "validation accuracy (at the left edge: that or less)" if below else "validation accuracy"
    x = alt.X("accuracy:Q", title=label, axis=axis, scale=scale)
    layers = [
        ticks.encode(x=x),
        means.encode(x=alt.X("max(mean):Q", axis=axis, scale=scale, title=label)),
    ]
    title = name if len(drawn) == len(values) else f"{name} ({len(drawn)} of {len(values)} values)"
    heading = alt.TitleParams(title, frame="group", limit=_WIDTH)
    return alt.LayerChart(layer=layers).properties(title=heading, width=_WIDTH, height=_STEP * len(drawn))
