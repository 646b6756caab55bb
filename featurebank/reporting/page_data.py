"""The data of a report's page: charts, pictures and curves, which the script of the page reads as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from featurebank.charts.embedding import script_json, specifications
from featurebank.charts.history import history
from featurebank.charts.theme import config
from featurebank.reporting.content import BoardRow, ConfusionCell, Confusions, ImageMap, ReportPicture
from featurebank.system.html import TINY, data_uri
from featurebank.words import one_line

_SIDE = 128
"""The largest side of a picture in pixels: sharp at 96 pixels on most screens, and about 5 kB."""
_QUALITY = 78


class PageData:
    """Collects the data while the templates are rendered, each picture once; `json` returns all of it at the end."""

    def __init__(self) -> None:
        self._charts: list[Any] = []
        self._pictures: dict[str, str] = {}
        self._runs: list[dict[str, Any]] = []
        self._cells: list[dict[str, Any]] = []
        self._maps: list[list[tuple[str, str]]] = []

    def charts(self, charts: Iterable[Any], heading: str = "") -> int:
        """Adds charts that are shown side by side, and returns the number of the group.

        Args:
            charts: the charts.
            heading: what stands above them on the page; a chart's title that says the same is left out.
        """
        panels = [panel for chart in charts for panel in specifications(chart)]
        self._charts.append([
            {key: value for key, value in panel.items() if key != "title" or value != heading} for panel in panels
        ])  # fmt: skip
        return len(self._charts) - 1

    def picture(self, bank: Mapping[str, Any], number: int, heat: np.ndarray | None = None) -> dict[str, Any]:
        """Adds a picture of a bank, perhaps with its heat map.

        Returns:
            The "key" of the picture in the data, "" if there is none, and the texts to show with it or in its place.
        """
        picture: ReportPicture = bank["pictures"][number]
        key, heated = f"{bank['id']}.{number}", ""
        if picture.image is not None:
            self._pictures.setdefault(key, data_uri(picture.image, _SIDE, quality=_QUALITY))
        if heat is not None:
            heated = f"{key}.heat"
            self._pictures.setdefault(heated, data_uri(heat, _SIDE, quality=_QUALITY))
        return {
            "key": key if picture.image is not None else "", "heat": heated, "id": picture.id,
            "text": f"{one_line(picture.id)}, {one_line(picture.label)}",
            "reason": one_line(picture.reason or "no picture"),
            "tiny": picture.image is not None and max(picture.image.shape[:2]) <= TINY,
        }  # fmt: skip

    def run(self, row: BoardRow) -> int:
        """Adds a row of a leaderboard, with its curves, and returns its number."""
        curves = {name: [_short(value) for value in values] for name, values in (row.curves or {}).items()}
        self._runs.append({
            "run": row.run, "title": one_line(row.head), "kind": one_line(row.kind), "tap": one_line(row.tap),
            "reason": one_line(row.failure),
            "curves": curves, "epochs": list(row.epochs), "best": row.best_epoch, "overfits": row.overfits_from,
        })  # fmt: skip
        return len(self._runs) - 1

    def cell(self, section: Confusions, cell: ConfusionCell, bank: Mapping[str, Any]) -> int:
        """Adds a cell of a confusion matrix with its pictures, and returns its number."""
        true, predicted = one_line(section.classes[cell.true]), one_line(section.classes[cell.predicted])
        self._cells.append({
            "true": true, "predicted": predicted, "count": cell.count,
            "pictures": [self._in_dialog(bank, number) for number in cell.pictures],
        })  # fmt: skip
        return len(self._cells) - 1

    def pictures_of_map(self, section: ImageMap, bank: Mapping[str, Any]) -> int:
        """Adds the pictures of the points of a map, and returns the number of that list."""
        # Pairs, not an object: an id may be "__proto__".
        self._maps.append([(name, self.picture(bank, number)["key"]) for name, number in section.pictures.items()])
        return len(self._maps) - 1

    def json(self) -> Any:
        """Returns everything that was added, as JSON that may stand in a script element."""
        from markupsafe import Markup

        themes = {"light": config(), "dark": config(dark=True)}
        values = {
            "charts": self._charts, "pictures": self._pictures, "runs": self._runs, "cells": self._cells,
            "maps": self._maps, "themes": themes,
            "history": _history() if any(run["curves"] for run in self._runs) else [],
        }  # fmt: skip
        return Markup(script_json(values))

    def _in_dialog(self, bank: Mapping[str, Any], number: int) -> dict[str, Any]:
        picture = self.picture(bank, number)
        return {name: picture[name] for name in ("key", "text", "reason", "tiny")} | {"id": one_line(picture["id"])}


def _history() -> list[dict[str, Any]]:
    """Returns the charts of a made-up run that has everything to mark.

    The script puts the values of a run into them: hundreds of runs have one look, which is that of `charts.history`,
    and need no charts of their own here.
    """
    falling, rising = [3.0, 2.0, 1.0, 0.5, 0.4], [3.0, 1.0, 2.0, 3.0, 3.0]
    curves = {"loss": falling, "accuracy": falling, "val_loss": rising, "val_accuracy": rising, "best_epoch": 2}
    return specifications(history({"": curves}))


def _short(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None
