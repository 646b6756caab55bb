"""The display of a race in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featurebank.system.html import Bar, CellTable, render
from featurebank.words import counted, duration

if TYPE_CHECKING:
    from featurebank.racing.outcome import Race, RoundScore

_COLUMNS = ["backbone", "accuracy", "log loss", "behind the best", "images/s", ""]


def race_html(race: Race) -> str:
    """Returns the display of a race: its winner with the interval, and a table of each round.

    The table shows the leave-one-out accuracy and log loss, and how far a candidate is behind in standard errors.
    """
    facts = [counted(len(race.rounds[0]), "backbone"), duration(race.seconds), race.savings]
    warnings = [f"unfinished: {race.unfinished}"] if race.unfinished else []
    tables = [_round(number, scores) for number, scores in enumerate(race.rounds, 1)]
    return render("Race", facts=facts, notes=[race.verdict], warnings=warnings, blocks=tables)


def _round(number: int, scores: Sequence[RoundScore]) -> CellTable:
    rows = [
        [
            one.candidate, Bar([("train", one.accuracy, "")], f"{one.accuracy:.4f}"), f"{one.loss:.4f}",
            "-" if one.decision == "best" else f"{one.distance:.1f} standard errors",
            "-" if one.images_per_second is None else f"{one.images_per_second:.0f}", one.decision,
        ]
        for one in scores
    ]  # fmt: skip
    return CellTable(
        _COLUMNS, rows, f"round {number}: {counted(scores[0].images, 'training image')}, each one left out in turn"
    )
