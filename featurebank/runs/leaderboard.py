"""The leaderboard as a value: a list of runs, with their specifications' entries and a table of everything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, overload

from featurebank.errors import MissingDependencyError, unknown_name
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.comparison import Entry, entries
from featurebank.runs.costs.table import CostTable
from featurebank.runs.ranking import in_words
from featurebank.runs.run import RunRecord
from featurebank.system.html import never_fails
from featurebank.words import counted

if TYPE_CHECKING:
    import altair as alt

    from featurebank.charts.runs import Cost

_Run = TypeVar("_Run", bound=RunRecord)


class Leaderboard(list[_Run]):
    """A list of runs, best first; a notebook shows it as a table of their heads.

    Args:
        runs: in their order.
        folds: the protocol that evaluated them; 1 is the bank's own split.
        metric: what they are ranked by.

    Example:
        >>> board = fb.leaderboard(bank)
        >>> board[:1]
        <Leaderboard: 1 run of 1 head, on the bank's own split, the first: 662db451f6: nearest_mean on pooled, ...>
        >>> [(str(entry.spec), round(entry.mean, 2)) for entry in board.entries]
        [('nearest_mean', 0.77), ('ridge', 0.7)]
    """

    def __init__(self, runs: Iterable[_Run] = (), *, folds: int = 1, metric: Metric = ACCURACY) -> None:
        super().__init__(runs)
        self.folds, self.metric = folds, metric

    @overload
    def __getitem__(self, place: SupportsIndex) -> _Run: ...

    @overload
    def __getitem__(self, place: slice) -> Leaderboard[_Run]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> _Run | Leaderboard[_Run]:
        if isinstance(place, slice):
            return Leaderboard(super().__getitem__(place), folds=self.folds, metric=self.metric)
        return super().__getitem__(place)

    def __repr__(self) -> str:
        heads = len({run.key for run in self})
        best = f", the first: {self[0].title}" if self else ""
        return (
            f"<Leaderboard: {counted(len(self), 'run')} of {counted(heads, 'head')}, on {in_words(self.folds)}{best}>"
        )

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        from featurebank.runs.display import leaderboard_html

        return leaderboard_html(self)

    @property
    def entries(self) -> list[Entry]:
        """One line for each specification, best first; failed runs are left out."""
        return entries(self, folds=self.folds, metric=self.metric)

    def plot(self, against: Cost = "seconds") -> alt.LayerChart:
        """Returns the accuracy of each head with its 95 % interval, against what it costs, on a logarithmic axis.

        Filled points cannot be told apart from the best head. A click picks a head, and the mouse a range.

        Args:
            against: "seconds" of training or the number of "parameters"; or what the features cost: "seconds an image"
                of the extraction, "bytes an image", or "images a second" in use, of which more are better.

        Returns:
            An Altair chart.

        Raises:
            ConfigError: there is no head with a result, or the cost of none is known.
            UnknownNameError: there is no such cost.

        Example:
            >>> fb.leaderboard(bank).plot().title.text
            'accuracy against seconds of training'
        """
        from featurebank.charts.runs import COSTS, accuracy_against
        from featurebank.runs.plots import head_points

        if against not in COSTS:
            raise unknown_name("cost", str(against), COSTS)
        return accuracy_against(head_points(self.entries), against)

    def plot_axes(self) -> alt.VConcatChart:
        """Returns the effect of each axis of the grid: the accuracy of each head by its value, and the means.

        Returns:
            An Altair chart with one panel for each axis that has several values.

        Raises:
            ConfigError: all heads have the same settings.

        Example:
            >>> [panel.title.text for panel in fb.leaderboard(bank).plot_axes().vconcat]
            ['head']
        """
        from featurebank.charts.runs import axes_of, axis_effects
        from featurebank.runs.plots import head_points

        return axis_effects(axes_of(head_points(self.entries)))

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame with one row for each run; `val_recall` holds lists.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return data_frame(run_rows(self))


def data_frame(rows: Any) -> Any:
    """Returns a pandas DataFrame of rows or columns.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        message = "a data frame needs pandas, which is not installed: pip install 'featurebank[pandas]'"
        raise MissingDependencyError(message) from error
    return pd.DataFrame(rows)


def run_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Returns each run as one flat row, all with the same columns.

    Metrics are called SPLIT_NAME; of the test split, loss and accuracy are there where it was opened for one of the
    runs. Parameters are one JSON text, and `param_NAME` each. `sample` is there if a run was trained on a sample.
    """
    costs = CostTable(runs)
    values = [{**({"sample": run.sample} if run.sample else {}), **_metrics(run), **_params(run)} for run in runs]
    names = dict.fromkeys(name for row in values for name in row)
    columns = sorted(names, key=lambda name: name.startswith("param_"))  # stable: metrics first, in their order
    return [
        _start(run) | {name: row.get(name) for name in columns} | _end(run) | costs.of(run).summary()
        for run, row in zip(runs, values, strict=True)
    ]


def _metrics(run: RunRecord) -> dict[str, Any]:
    splits = {split: run.metrics.get(split, {}) for split in ("train", "val")}
    if test := run.metrics.get("test"):
        splits["test"] = {name: test[name] for name in ("loss", "accuracy")}
    return {f"{split}_{name}": value for split, metrics in splits.items() for name, value in metrics.items()}


def _params(run: RunRecord) -> dict[str, Any]:
    return {f"param_{name}": value for name, value in sorted(run.params.items())}


def _start(run: RunRecord) -> dict[str, Any]:
    params = json.dumps(dict(run.params), sort_keys=True)
    return {
        "run": run.run, "name": run.name, "head": run.head, "params": params, "tap": run.tap, "views": run.views,
        "seed": run.seed, "seconds": run.seconds, "bank": run.bank_name,
    }  # fmt: skip


def _end(run: RunRecord) -> dict[str, Any]:
    index, folds, repeat = run.fold or (None, None, None)
    return {
        "fold": index, "folds": folds, "repeat": repeat, "parameters": run.parameters, "together": run.together,
        "created": run.created, "failure": run.failure,
    }  # fmt: skip
