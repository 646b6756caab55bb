"""Gathers the leaderboard: a row for each head, its curves, and the effects of the axes of the grid."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.charts.history import over_fitting
from featurebank.metrics import ACCURACY
from featurebank.reporting.content import Board, BoardRow, Conclusion
from featurebank.reporting.evidence import Evidence
from featurebank.reporting.sections import drawings
from featurebank.reporting.sections.axes import AxisEffect, axis_effects
from featurebank.reporting.sections.wording import axes, axis, board
from featurebank.runs.comparison import Entry
from featurebank.runs.labels import short_names
from featurebank.runs.ranking import in_words
from featurebank.runs.run import RunRecord
from featurebank.words import one_line, percent, points

ROWS = 2000
"""The maximum number of rows."""
EPOCHS = 60
"""The maximum number of points of a curve."""
POINTS = 120_000
"""The maximum number of points of all curves together, half a megabyte or so; curves are thinned further to keep it."""
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
CHARTS = 12
"""The maximum number of charts of axes; others have their sentence alone."""
METRICS = ("macro_f1", "loss", "calibration_error")
"""Further validation metrics that are columns."""


def gather_board(evidence: Evidence) -> Board:
    """Returns the leaderboard of a bank, and what its grid teaches."""
    entries = evidence.entries[:ROWS]
    names, left_out = short_names([entry.spec for entry in entries])
    failed = evidence.failed[: max(0, ROWS - len(entries))]
    rows = rows_of(names, entries)
    hidden = len(evidence.entries) - len(entries) + len(evidence.failed) - len(failed)
    effects = axis_effects(evidence.entries)
    return Board(
        Conclusion("Leaderboard", _sentence(evidence, names)),
        [*rows, *map(_failed_row, failed)],
        hidden,
        drawings.by_cost(rows),
        [(effect.name, _effect(effect), chart) for effect, chart in zip(effects, _charts(effects), strict=True)],
        _axes_conclusion(effects),
        [f"{word} ({', '.join(kinds)})" for word, kinds in left_out.items()],
    )


def rows_of(names: Sequence[str], entries: Sequence[Entry]) -> list[BoardRow]:
    """Returns the rows of some heads under their names, the best head first."""
    curves = _points_of_a_curve(entries)
    alike = {entry.runs[0].run for entry in (*entries[:1], *alike_heads(entries))}
    return [_row(name, entry, curves, alike) for name, entry in zip(names, entries, strict=True)]


def images_of(entry: Entry) -> int | None:
    """Returns the number of different validation images of a head; None if it is not recorded."""
    folds = {run.fold[0] if run.fold else 0: run.metrics["val"].get("images") for run in entry.runs}
    known = [int(count) for count in folds.values() if count is not None]
    return sum(known) if len(known) == len(folds) else None


def _sentence(evidence: Evidence, names: Sequence[str]) -> str:
    entries, alike = evidence.entries, alike_heads(evidence.entries)
    if not entries:
        return board(heads=0, alike=0, images=None, runner_up=None, cheapest="", failed=len(evidence.failed))
    runner_up = (names[1], _behind(entries[0], entries[1])) if len(names) > 1 else None
    cheapest = min([entries[0], *near_heads(entries)], key=lambda entry: entry.seconds)
    own = "the best head itself, " if cheapest is entries[0] else ""
    is_accuracy = evidence.metric == ACCURACY
    has = percent(cheapest.mean) if is_accuracy else f"{evidence.metric.name} {cheapest.value:.4f}"
    fastest = f"{own}{name_of(cheapest)}, which has {has}"
    sentence = board(
        heads=len(entries), alike=len(alike), images=images_of(entries[0]), runner_up=runner_up, cheapest=fastest,
        failed=len(evidence.failed),
    )  # fmt: skip
    return sentence if evidence.folds == 1 else f"Validated on {in_words(evidence.folds)}. {sentence}"


def _behind(best: Entry, other: Entry) -> str:
    """Returns by how much a head is worse than the best one, in words."""
    if best.metric == ACCURACY:
        return points(best.mean - other.mean)
    return f"{abs(best.value - other.value):.4f} of {best.metric.name}"


def alike_heads(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the other heads that cannot be told apart from the first.

    Where the answers for single images are not recorded, they are those whose interval overlaps that of the first.
    """
    return [
        entry
        for entry in entries[1:]
        if entry.indistinguishable or (entry.p_value is None and entry.interval[1] >= entries[0].interval[0])
    ]


def near_heads(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the heads, except the first, that are alike and whose accuracy is within one standard error of it.

    McNemar's test alone keeps heads that are far behind if there are few images: it only says that they may be equal.
    """
    if not entries:
        return []
    metric = entries[0].metric
    least = metric.goodness(entries[0].value) - entries[0].standard_error
    return [entry for entry in alike_heads(entries) if metric.goodness(entry.value) >= least]


def name_of(entry: Entry) -> str:
    """Returns the name of a head with its parameters."""
    return str(entry.spec)


def _row(name: str, entry: Entry, points: int, alike: Collection[str]) -> BoardRow:
    best = entry.runs[0]
    return BoardRow(
        run=best.run, head=name, kind=entry.spec.kind, tap=entry.spec.tap, accuracy=entry.mean,
        interval=entry.interval, train=entry.train, verdict=entry.verdict, indistinguishable=best.run in alike,
        seconds=entry.seconds, parameters=entry.parameters, values=_values(entry), **_curves(best, points),
    )  # fmt: skip


def _values(entry: Entry) -> dict[str, Any]:
    scores = {name: entry.score(name) for name in METRICS}
    first: dict[str, Any] = {}
    if entry.metric != ACCURACY and not math.isnan(entry.value):  # what ranks the heads comes first
        name = entry.metric.name if entry.metric.name in METRICS else entry.metric.title
        first[name] = float(f"{entry.value:.4g}")
        if entry.value_interval is not None:
            first[f"{name}, 95 % interval"] = in_numbers(entry.value_interval)
    runs = {"runs": len(entry.runs)} if len(entry.runs) > 1 else {}
    others = {name: float(f"{score:.4g}") for name, score in scores.items() if not math.isnan(score)}
    return {**first, **{name: score for name, score in others.items() if name not in first}, **runs}


def in_numbers(interval: tuple[float, float]) -> str:
    """Returns an interval of any metric in words.

    Example:
        >>> in_numbers((0.25, 0.5))
        '0.2500 to 0.5000'
    """
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _failed_row(run: RunRecord) -> BoardRow:
    return BoardRow(
        run=run.run, head=str(run.spec), kind=run.head, tap=run.tap, accuracy=None, interval=None, train=None,
        verdict="failed", indistinguishable=False, seconds=run.seconds, parameters=run.parameters,
        failure=one_line(run.failure or ""),
    )  # fmt: skip


def _points_of_a_curve(entries: Sequence[Entry]) -> int:
    """Returns how many points each curve may have, so that all together stay within the limit."""
    with_curves = sum(bool(entry.runs[0].history) for entry in entries)
    return max(2, min(EPOCHS, POINTS // max(1, len(CURVES) * with_curves)))


def _curves(run: RunRecord, points: int) -> dict[str, Any]:
    """Returns the fields of a row that describe the training of a run epoch by epoch."""
    history = run.history or {}
    lines = {name: [_number(value) for value in history[name]] for name in CURVES if _is_curve(history, name)}
    epochs = max(map(len, lines.values()), default=0)
    if epochs < 2:  # noqa: PLR2004 - a curve has two points
        return {}
    best = int(history.get("best_epoch", 0))
    places = thinned(epochs, points, best)
    curves = {
        name: [_rounded(values[place]) if place < len(values) else None for place in places]
        for name, values in lines.items()
    }
    return {
        "curves": curves, "epochs": [place + 1 for place in places], "best_epoch": best,
        "overfits_from": worse[0] if (worse := over_fitting(lines)) else 0,
    }  # fmt: skip


def _is_curve(history: Mapping[str, Any], name: str) -> bool:
    values = history.get(name)
    return isinstance(values, list) and len(values) > 0 and not isinstance(values[0], Mapping)


def thinned(epochs: int, points: int, best: int) -> list[int]:
    """Returns the places of at most so many epochs, evenly spaced, with the first, the last and the best one.

    Args:
        epochs: the number of epochs.
        points: the maximum number of places, at least 2.
        best: an epoch to keep, from 1; 0 for none.

    Example:
        >>> thinned(100, 5, 42)
        [0, 25, 41, 74, 99]
    """
    if epochs <= points:
        return list(range(epochs))
    places = np.unique(np.linspace(0, epochs - 1, points).round().astype(int))
    if 1 <= best <= epochs:
        inner = places[1:-1]
        if best - 1 not in places and len(inner):
            places[1 + int(np.abs(inner - (best - 1)).argmin())] = best - 1
    return [int(place) for place in np.unique(places)]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _effect(effect: AxisEffect) -> str:
    return axis(effect.best, effect.worst, effect.gain, interval=effect.interval, pairs=effect.pairs)


def _charts(effects: Sequence[AxisEffect]) -> list[Any]:
    """Returns the charts of the first effects, which are the largest; None for the others."""
    return [drawings.axis_effect(effect.values) if place < CHARTS else None for place, effect in enumerate(effects)]


def _axes_conclusion(effects: Sequence[AxisEffect]) -> Conclusion | None:
    if not effects:
        return None
    mattering = [(effect.name, effect.gain) for effect in effects if effect.matters]
    return Conclusion("What each axis of the grid changes", axes(mattering, len(effects) - len(mattering)))
