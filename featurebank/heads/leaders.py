"""The leaderboard as a value: a list of runs, with their specifications' entries and a table of everything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.heads.entries import Entry, entries
from featurebank.heads.runs import Run


class Leaderboard(list[Run]):
    """Runs, best first.

    Args:
        runs: in their order.
        folds: the protocol that judged them; 1 is the bank's own split.
    """

    def __init__(self, runs: Iterable[Run] = (), *, folds: int = 1) -> None:
        super().__init__(runs)
        self.folds = folds

    @property
    def entries(self) -> list[Entry]:
        """One line for each specification, best first; failed runs are left out."""
        return entries(self, folds=self.folds)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame with one row for each run; `val_recall` holds lists.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            message = "a data frame needs pandas, which is not installed: pip install 'featurebank[pandas]'"
            raise MissingDependencyError(message) from error
        return pd.DataFrame(run_rows(self))


def run_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns each run as one flat row, all with the same columns: parameters as one JSON text, metrics as SPLIT_NAME.

    Metrics of the test split are not among them: they are shown for a chosen run alone.
    """
    values = [
        {f"{split}_{name}": value for split in ("train", "val") for name, value in run.metrics.get(split, {}).items()}
        for run in runs
    ]
    names = list(dict.fromkeys(name for row in values for name in row))
    return [
        _start(run) | {name: row.get(name) for name in names} | _end(run) for run, row in zip(runs, values, strict=True)
    ]


def _start(run: Run) -> dict[str, Any]:
    params = json.dumps(dict(run.params), sort_keys=True)
    return {
        "run": run.run, "head": run.head, "params": params, "tap": run.tap, "seed": run.seed, "seconds": run.seconds
    }  # fmt: skip


def _end(run: Run) -> dict[str, Any]:
    index, folds, repeat = run.fold or (None, None, None)
    return {
        "fold": index, "folds": folds, "repeat": repeat, "parameters": run.parameters, "together": run.together,
        "created": run.created, "failure": run.failure,
    }  # fmt: skip
