"""The leaderboard as a table on the terminal, as JSON values and as a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurebank.cli.options import by_metric
from featurebank.cli.terminal import echo, shown_path
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.metrics import Metric
    from featurebank.runs.comparison import Entry
    from featurebank.runs.costs.table import Cost, CostTable
    from featurebank.runs.run import RunRecord

SORT_KEYS = ("accuracy", "loss", "macro_f1", "seconds", "gap")
SHOWN = 10
_FAILURES = 5


def run_json(run: RunRecord, best: RunRecord) -> dict[str, Any]:
    """Returns a run for `--json`; only the best run includes its test metrics."""
    summary = run.summary()
    if run.run != best.run or "test" not in run.metrics:
        summary["metrics"] = {split: values for split, values in run.metrics.items() if split != "test"}
    return summary


def board_json(
    runs: Sequence[RunRecord], best: RunRecord, *, sort: str | None = None, top: int | None = None,
    metric: Metric | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Returns the leaderboard for `--json`: `runs`, `entries` (one for each specification on each bank) and `best`.

    Args:
        runs: of one bank, or of several.
        best: the selected run; if it is not in `runs`, as after cross-validation, it is added in front.
        sort: as in `print_board`.
        top: the number of runs and entries to return; None for all.
        metric: what ranks them; None for the accuracy.
    """
    from featurebank.metrics import ACCURACY
    from featurebank.runs.comparison import entries
    from featurebank.runs.costs.table import CostTable

    metric = metric or ACCURACY
    shown, costs = sorted_runs(runs, sort)[:top], CostTable(runs)
    if all(run.run != best.run for run in runs):
        shown = [best, *shown]
    return {
        "runs": [run_json(best if run.run == best.run else run, best) for run in shown],
        "entries": [
            {**entry.summary(), **costs.of(entry.runs[0]).summary()}
            for entry in sorted_entries(entries(runs, metric=metric), sort)[:top]
        ],
        "metric": metric.name,
        "best": best.run,
    }


def print_board(
    runs: Sequence[RunRecord], best: RunRecord, *, more: str, top: int = SHOWN, sort: str | None = None,
    metric: Metric | None = None,
) -> None:  # fmt: skip
    """Prints one line for each specification, then the failures; of several banks also what predictions cost.

    Args:
        runs: of one bank, or of several.
        best: the selected run.
        more: the command that shows all lines; the metric and their number are appended.
        top: the number of lines to print.
        sort: one of `SORT_KEYS`; None for the order of selection.
        metric: what ranks them, and what the first columns and the tests are about; None for the accuracy.
    """
    from featurebank.metrics import ACCURACY
    from featurebank.runs.comparison import entries
    from featurebank.runs.costs.table import CostTable
    from featurebank.runs.labels import short_names

    entries_of_runs, costs = entries(runs, metric=metric or ACCURACY), CostTable(runs)
    listed = sorted_entries(entries_of_runs, sort)[:top]
    names, alike = short_names([entry.spec for entry in listed])
    common = [f"{word} ({', '.join(of)})" for word, of in alike.items()]
    common += _print_entries(listed, names, best, costs)
    if common:
        echo("common to these rows: " + ", ".join(common))
    if costs.has_several_banks:
        for line in costs.remarks():
            echo(line)
    if len(entries_of_runs) > top:
        echo(f"and {len(entries_of_runs) - top} more: {more}{by_metric(metric)} --top {len(entries_of_runs)}")
    _print_significance(entries_of_runs)
    failed = [run for run in runs if run.failure]
    for run in failed[:_FAILURES]:
        echo(f"failed: {run.run} {run.spec}: {run.failure}")
    if len(failed) > _FAILURES:
        echo(f"and {len(failed) - _FAILURES} more failed: --csv FILE writes their reasons")
    if stopped := sum(run.rung is not None for run in runs):
        echo(f"{counted(stopped, 'run')} stopped early by --search halving")


def _print_entries(shown: Sequence[Entry], names: Sequence[str], best: RunRecord, costs: CostTable) -> list[str]:
    """Prints the table; it has a column with the number of runs only if some entry has several.

    Of several banks, it has the bank and the costs. Then the tap has no column if it is the same in all rows; it is
    returned in words, to be said below the table.
    """
    from featurebank.cli.tables import fitting_cells, print_table

    figures = _figures(shown)
    cells = {name: [text(entry) for entry in shown] for name, text in figures.items()}
    start = {
        "  run": [_name(entry, best) for entry in shown], "head": list(names),
        "tap": [entry.spec.tap for entry in shown],
    }  # fmt: skip
    taps, common = set(start["tap"]), []
    if costs.has_several_banks:
        start["bank"] = [costs.labels[entry.runs[0].directory] for entry in shown]
        cells |= _cost_cells(shown, costs)
        if len(taps) == 1:
            common = [f"tap {start.pop('tap')[0]}"]
    if any(len(entry.runs) > 1 for entry in shown):
        start["runs"] = [_behind(entry) for entry in shown]
    metrics = {entry.metric.title for entry in shown}
    shown_cells = fitting_cells({**start, **cells}, "head", "tap", [n for n in _FIRST_TO_GO if n not in metrics])
    print_table(
        list(shown_cells), zip(*shown_cells.values(), strict=True),
        right=[name for name in (*figures, *_COSTS) if name != _VERDICT], whole=list(shown_cells),
    )  # fmt: skip
    return common


def _cost_cells(shown: Sequence[Entry], costs: CostTable) -> dict[str, list[str]]:
    """Returns the columns of costs that are known for at least one row."""
    of_rows = [costs.of(entry.runs[0]) for entry in shown]
    cells = {name: [text(cost) for cost in of_rows] for name, text in _COSTS.items()}
    return {name: texts for name, texts in cells.items() if set(texts) != {"-"}}


def _name(entry: Entry, best: RunRecord) -> str:
    is_best = entry.key == best.key
    mark = ("*" if is_best else " ") + ("=" if entry.indistinguishable else " ")
    return f"{mark} {best.run if is_best else entry.runs[0].run}"


def _behind(entry: Entry) -> str:
    if entry.folds == 1:
        return counted(len(entry.runs), "seed")
    from featurebank.runs.ranking import in_words

    return f"{len(entry.runs)}, {in_words(entry.folds)}" + ("" if entry.complete else ", not all")


_VERDICT = "fit"
_FIGURES: dict[str, Callable[[Entry], str]] = {
    "val acc": lambda entry: f"{entry.mean:.4f}" + _apart(entry.std),
    "95 % interval": lambda entry: _span(entry.interval),
    "val loss": lambda entry: f"{entry.score('loss'):.4f}",
    "macro F1": lambda entry: f"{entry.score('macro_f1'):.4f}",
    "train acc": lambda entry: f"{entry.train:.4f}",
    "gap": lambda entry: f"{entry.gap:+.3f}",
    _VERDICT: lambda entry: entry.verdict,
    "seconds": lambda entry: f"{entry.seconds:.2f}",
}
_COSTS: dict[str, Callable[[Cost], str]] = {
    "s/image": lambda cost: "-" if cost.seconds_per_image is None else f"{cost.seconds_per_image:.2g}",
    "bytes/image": lambda cost: "-" if cost.bytes_per_image is None else f"{cost.bytes_per_image:,}",
    "images/s": lambda cost: "-" if cost.images_per_second is None else f"{cost.images_per_second:.3g}",
}
_FIRST_TO_GO = (
    "macro F1", "val loss", "train acc", "gap", "runs", "seconds", _VERDICT, "95 % interval", "bytes/image", "s/image",
)  # fmt: skip
"""Columns to omit on a narrow terminal, in this order."""


def _figures(shown: Sequence[Entry]) -> dict[str, Callable[[Entry], str]]:
    """Returns the columns with figures: the metric that ranks the entries, its interval, and those of the accuracy."""
    metric = shown[0].metric if shown else None
    if metric is None or metric.name == "accuracy":
        return _FIGURES
    of_metric: dict[str, Callable[[Entry], str]] = {
        metric.title: lambda entry: _number(entry.value) + _apart(entry.value_std),
        "95 % interval": lambda entry: "-" if entry.value_interval is None else _span(entry.value_interval),
        "val acc": lambda entry: f"{entry.mean:.4f}",
    }
    same = {"loss": "val loss"}.get(metric.title, metric.title)
    return {**of_metric, **{name: text for name, text in _FIGURES.items() if name not in {*of_metric, same}}}


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def _apart(std: float | None) -> str:
    return "" if std is None else f" ± {std:.4f}"


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f}-{interval[1]:.3f}"


def _print_significance(all_entries: Sequence[Entry]) -> None:
    from featurebank.metrics.group_effects import groups_in_words

    if all_entries and (groups := all_entries[0].groups):
        echo(f"groups of validation images count, not single images: intervals and tests of {groups_in_words(groups)}")
    compared = sum(entry.p_value is not None for entry in all_entries)
    alike = sum(entry.indistinguishable for entry in all_entries[1:])
    if compared:
        echo(
            f"= {alike} of {counted(compared, 'other head')} {'does' if alike == 1 else 'do'} not differ significantly "
            f"from the first ({all_entries[0].test}, 5 %, Holm's correction)"
        )


def print_best(
    bank: Bank, best: RunRecord, runs: Sequence[RunRecord] = (), *, metric: Metric | None = None
) -> None:  # fmt: skip
    """Prints the selected run, and its test accuracy if it has one.

    Args:
        bank: the bank that the run was trained on.
        best: the selected run.
        runs: the runs that it was selected from, perhaps cross-validated ones.
        metric: what it was selected by; None for the accuracy.
    """
    from featurebank.metrics import ACCURACY
    from featurebank.metrics.group_effects import groups_in_words

    how = _validated(best, runs, metric or ACCURACY)
    echo(f"selected by validation: {best.run}  {best.spec} on {best.tap}  {how}")
    if "test" in best.metrics:
        test = best.metrics["test"]
        low, high = test["accuracy_interval"]
        of_groups = f" of {groups_in_words(test['groups'])}" if "groups" in test else ""
        repeated = f" after {counted(n, 'other evaluation')}" if (n := test.get("opened_before", 0)) else ""
        echo(
            f"test accuracy {test['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}) on "
            f"{counted(test['images'], 'held-out image')}{of_groups}, evaluated {best.tested}{repeated}"
        )
    echo(f"runs: {shown_path(bank.path / 'runs')}")


def _validated(best: RunRecord, runs: Sequence[RunRecord], metric: Metric) -> str:
    """Returns the metric by which a run was selected, as text."""
    from featurebank.runs.comparison import spread
    from featurebank.runs.ranking import Ranking, in_words, latest_folds

    own = f"validation {metric.name} {_number(metric.recorded(best.metrics['val']))}"
    if metric.name != "accuracy":
        own += f", accuracy {best.metrics['val']['accuracy']:.4f}"
    groups = Ranking(runs, folds=latest_folds(runs), metric=metric).top()
    group = next((group for group in groups if group.key == best.key), None)
    if group is None or group.folds == 1:
        return own
    mean = f"{metric.name} {group.mean(metric):.4f}{_apart(spread(group, metric))}"
    return f"{mean} on {in_words(group.folds)} ({own} on the bank's own split)"


def sorted_entries(all_entries: Sequence[Entry], key: str | None) -> list[Entry]:
    """Returns the entries sorted by one of `SORT_KEYS`, best first; None keeps their order."""
    from featurebank.runs.ranking import sort_by

    if key is None:
        return list(all_entries)
    attribute = {"accuracy": "mean", "seconds": "seconds", "gap": "gap"}.get(key)
    return sort_by(all_entries, key, lambda entry: getattr(entry, attribute) if attribute else entry.score(key))


def sorted_runs(runs: Sequence[RunRecord], key: str | None) -> list[RunRecord]:
    """Returns the runs sorted by one of `SORT_KEYS`, best first and failed ones last; None keeps their order."""
    from featurebank.runs.ranking import sort_by

    if key is None:
        return list(runs)
    return sort_by(runs, key, lambda run: nan if run.failure else _figure(run, key))


def _figure(run: RunRecord, key: str) -> float:
    if key == "seconds":
        return run.seconds
    val = run.metrics["val"]
    return float(run.metrics["train"]["accuracy"] - val["accuracy"] if key == "gap" else val.get(key, nan))


def write_board_csv(runs: Sequence[RunRecord], path: Path) -> None:
    """Writes the runs to a CSV file with one column for each metric and each parameter; lists are JSON."""
    from featurebank.runs.leaderboard import run_rows
    from featurebank.system.csv_files import write_csv

    rows = run_rows(runs)
    write_csv(path, list(rows[0]) if rows else ["run"], (list(row.values()) for row in rows))
