"""Gathers the one leaderboard of several banks: every head of every bank, with what its predictions cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from featurebank.bank.comparison.same_images import check_same_images
from featurebank.charts.runs import Cost, accuracy_against
from featurebank.errors import ConfigError
from featurebank.reporting.content import Board, Conclusion
from featurebank.reporting.evidence import Evidence
from featurebank.reporting.sections.board import ROWS, alike_heads, rows_of
from featurebank.reporting.sections.wording_data import together
from featurebank.runs.comparison import Entry, entries
from featurebank.runs.costs.table import CostTable
from featurebank.runs.labels import short_names
from featurebank.runs.plots import head_points
from featurebank.runs.ranking import latest_folds

_SPEED: tuple[Cost, ...] = ("images a second", "seconds an image")
"""What a prediction takes: the first that is known for some head is drawn."""
_SIZE: Cost = "bytes an image"


def gather_together(banks: Sequence[Evidence]) -> Board | None:
    """Returns the leaderboard of several banks; None if they do not hold the same images or there is no result."""
    try:
        check_same_images([one.bank for one in banks])
    except ConfigError:  # the conclusion of the comparison says so
        return None
    runs = [run for one in banks for run in one.runs]
    ranked = entries(runs, folds=latest_folds(runs), metric=banks[0].metric)
    if not ranked:
        return None
    shown, costs = ranked[:ROWS], CostTable([entry.runs[0] for entry in ranked])
    names, left_out = short_names([entry.spec for entry in shown])
    rows = [
        replace(row, values={**_costs(entry, costs), **row.values})
        for row, entry in zip(rows_of(names, shown), shown, strict=True)
    ]
    common = [f"{word} ({', '.join(kinds)})" for word, kinds in left_out.items()]
    return Board(
        Conclusion("All heads of all banks", _sentence(ranked, costs)), rows, len(ranked) - len(shown),
        _charts(shown), [], common=common, remarks=costs.remarks(),
    )  # fmt: skip


def _costs(entry: Entry, costs: CostTable) -> dict[str, Any]:
    """Returns the bank of a head and what its predictions cost, as columns of the table."""
    run = entry.runs[0]
    cost = costs.of(run)
    named = {
        "images a second": cost.images_per_second, "seconds an image": cost.seconds_per_image,
        "bytes an image": cost.bytes_per_image,
    }  # fmt: skip
    return {"bank": costs.labels[run.directory], **{name: value for name, value in named.items() if value is not None}}


def _charts(shown: Sequence[Entry]) -> list[tuple[str, Any]]:
    """Draws the accuracy of all heads against what their predictions cost; each bank has a colour."""
    points = head_points(shown)
    known = [cost for cost in (*_SPEED, _SIZE) if any(point.cost(cost) is not None for point in points)]
    drawn = [cost for cost in known if cost == _SIZE or cost == known[0]]
    return [(cost, accuracy_against(points, cost)) for cost in drawn]


def _sentence(ranked: Sequence[Entry], costs: CostTable) -> str:
    best = ranked[0]
    label = costs.labels[best.runs[0].directory]
    alike = [entry for entry in alike_heads(ranked) if entry.runs[0].directory != best.runs[0].directory]
    others = sorted({costs.labels[entry.runs[0].directory] for entry in alike})
    speeds = {costs.labels[entry.runs[0].directory]: costs.of(entry.runs[0]).images_per_second for entry in ranked}
    known = {name: speed for name, speed in speeds.items() if speed is not None and name in {label, *others}}
    fastest = max(known, key=lambda name: known[name]) if known.keys() == {label, *others} else ""
    return together(len(ranked), str(best.spec), label, best.mean, others, fastest=fastest, speed=known.get(fastest))
