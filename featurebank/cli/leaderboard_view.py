"""The leaderboard: as a table in the terminal, as JSON values and as a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurebank.cli.terminal import echo
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.pipeline import VariantResult
    from featurebank.runs.comparison import Entry
    from featurebank.runs.run import Run

SORT_KEYS = ("accuracy", "loss", "macro_f1", "seconds", "gap")
SHOWN = 10
_FAILURES = 5


def run_json(run: Run, best: Run) -> dict[str, Any]:
    """Returns a run for `--json`; only the chosen one shows its test metrics."""
    found = run.summary()
    if run.run != best.run or "test" not in run.metrics:
        found["metrics"] = {split: values for split, values in run.metrics.items() if split != "test"}
    return found


def board_json(runs: Sequence[Run], best: Run, *, sort: str | None = None, top: int | None = None) -> dict[str, Any]:
    """Returns the leaderboard for `--json`: `runs`, `entries` (one for each specification) and `best`.

    Args:
        runs: of one bank.
        best: the chosen run; where it is not among the runs, as after folds, it is put before them.
        sort: as in `print_board`.
        top: how many runs and entries are told; None for all.
    """
    from featurebank.runs.comparison import entries

    shown = sorted_runs(runs, sort)[:top]
    if all(run.run != best.run for run in runs):
        shown = [best, *shown]
    return {
        "runs": [run_json(best if run.run == best.run else run, best) for run in shown],
        "entries": [entry.summary() for entry in sorted_entries(entries(runs), sort)[:top]],
        "best": best.run,
    }


def print_board(runs: Sequence[Run], best: Run, *, more: str, top: int = SHOWN, sort: str | None = None) -> None:
    """Prints a line for each specification, then what has failed.

    Args:
        runs: of one bank.
        best: the chosen run.
        more: the command that shows all lines; their number is put behind it.
        top: how many lines are printed.
        sort: one of `SORT_KEYS`; None is the order in which runs are chosen.
    """
    from featurebank.runs.comparison import entries
    from featurebank.runs.labels import short_names

    found = entries(runs)
    shown = sorted_entries(found, sort)[:top]
    names, alike = short_names([entry.spec for entry in shown])
    _print_entries(shown, names, best)
    if alike:
        echo("the same in these rows: " + ", ".join(f"{word} ({', '.join(of)})" for word, of in alike.items()))
    if len(found) > top:
        echo(f"and {len(found) - top} more: {more} {len(found)}")
    _print_alike(found)
    failed = [run for run in runs if run.failure]
    for run in failed[:_FAILURES]:
        echo(f"failed: {run.run} {run.spec}: {run.failure}")
    if len(failed) > _FAILURES:
        echo(f"and {len(failed) - _FAILURES} more failed: --csv FILE has their reasons")
    if stopped := sum(run.rung is not None for run in runs):
        echo(f"{counted(stopped, 'run')} stopped early in a race")


def _print_entries(shown: Sequence[Entry], names: Sequence[str], best: Run) -> None:
    """Prints the table; how many runs stand behind a line only where that says something."""
    from featurebank.cli.tables import print_table, that_fit

    cells = {name: [text(entry) for entry in shown] for name, text in _FIGURES.items()}
    start = {
        "  run": [_name(entry, best) for entry in shown], "head": list(names),
        "tap": [entry.spec.tap for entry in shown],
    }  # fmt: skip
    if any(len(entry.runs) > 1 for entry in shown):
        start["runs"] = [_behind(entry) for entry in shown]
    cells = {**start, **cells}
    columns = that_fit(cells, "head", _FIRST_TO_GO)
    print_table(
        columns, zip(*(cells[name] for name in columns), strict=True), right=[n for n in _FIGURES if n != _WORD],
        whole=[name for name in columns if name != "head"],
    )  # fmt: skip


def _name(entry: Entry, best: Run) -> str:
    chosen = entry.spec == best.spec
    mark = ("*" if chosen else " ") + ("=" if entry.indistinguishable else " ")
    return f"{mark} {best.run if chosen else entry.runs[0].run}"


def _behind(entry: Entry) -> str:
    if entry.folds == 1:
        return counted(len(entry.runs), "seed")
    from featurebank.runs.ranking import in_words

    return f"{len(entry.runs)}, {in_words(entry.folds)}" + ("" if entry.complete else ", not all")


_WORD = ""
_FIGURES: dict[str, Callable[[Entry], str]] = {
    "val acc": lambda entry: f"{entry.mean:.4f}" + ("" if entry.std is None else f" ± {entry.std:.4f}"),
    "95 % interval": lambda entry: f"{entry.interval[0]:.3f}-{entry.interval[1]:.3f}",
    "val loss": lambda entry: f"{entry.score('loss'):.4f}",
    "macro F1": lambda entry: f"{entry.score('macro_f1'):.4f}",
    "train acc": lambda entry: f"{entry.train:.4f}",
    "gap": lambda entry: f"{entry.gap:+.3f}",
    _WORD: lambda entry: entry.verdict,
    "seconds": lambda entry: f"{entry.seconds:.2f}",
}
_FIRST_TO_GO = ("macro F1", "val loss", "train acc", "gap", "runs", "seconds", "95 % interval", _WORD)
"""Columns that a narrow terminal does without."""


def _print_alike(found: Sequence[Entry]) -> None:
    compared = sum(entry.p_value is not None for entry in found)
    alike = sum(entry.indistinguishable for entry in found[1:])
    if compared:
        echo(
            f"= {alike} of {counted(compared, 'other head')} cannot be told from the first "
            "(McNemar's test on the same images, 5 %, corrected by Holm)"
        )


def print_best(bank: Bank, best: Run, runs: Sequence[Run] = ()) -> None:
    """Prints the chosen run, and its test accuracy if it has one.

    Args:
        bank: that it was trained on.
        best: the run.
        runs: those that it was chosen from; where they were judged on folds, so was its specification.
    """
    echo(f"chosen by validation: {best.run}  {best.spec} on {best.tap}  {_validated(best, runs)}")
    if "test" in best.metrics:
        test = best.metrics["test"]
        low, high = test["accuracy_interval"]
        before = test.get("opened_before", 0)
        told = f" after {counted(before, 'other opening')}" if before else ""
        echo(
            f"test accuracy {test['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}) on "
            f"{counted(test['images'], 'image')} kept apart, opened {best.tested}{told}"
        )
    echo(f"runs: {bank.path / 'runs'}")


def _validated(best: Run, runs: Sequence[Run]) -> str:
    """Returns the accuracy that a run was chosen by, in words."""
    from featurebank.runs.comparison import entries
    from featurebank.runs.ranking import in_words

    own = f"validation accuracy {best.metrics['val']['accuracy']:.4f}"
    entry = next((entry for entry in entries(runs) if entry.spec == best.spec), None)
    if entry is None or entry.folds == 1:
        return own
    spread = "" if entry.std is None else f" ± {entry.std:.4f}"
    return f"accuracy {entry.mean:.4f}{spread} on {in_words(entry.folds)} ({own} on the bank's own split)"


def print_variants(found: Sequence[VariantResult]) -> None:
    """Prints a line for each variant of a pipeline: what was chosen there, and how good it is."""
    from featurebank.cli.tables import print_table

    columns = ("variant", "chosen", "val acc", "95 % interval", "fine-tuned", "test acc", "seconds")
    print_table(
        columns, [_variant_cells(done) for done in found], right=("val acc", "95 % interval", "test acc", "seconds"),
        whole=("variant",),
    )  # fmt: skip


def _variant_cells(done: VariantResult) -> list[str]:
    chosen, tuned = done.result.chosen, done.result.finetuned
    val, test = chosen.metrics["val"], chosen.metrics.get("test")
    low, high = val["accuracy_interval"]
    gain = "-" if tuned is None else f"{(tuned.finetune or {})['gain']['accuracy'] * 100:+.1f} points"
    return [
        done.name, str(chosen.spec), f"{val['accuracy']:.4f}", f"{low:.3f}-{high:.3f}", gain,
        f"{test['accuracy']:.4f}" if test else "-", f"{done.seconds:.1f}",
    ]  # fmt: skip


def sorted_entries(found: Sequence[Entry], key: str | None) -> list[Entry]:
    """Returns the entries by one of `SORT_KEYS`, best first; None leaves them as they are."""
    if key is None:
        return list(found)
    if key in {"seconds", "gap"}:
        return sorted(found, key=lambda entry: float(getattr(entry, key)))
    sign = 1 if key == "loss" else -1
    return sorted(found, key=lambda entry: sign * (entry.mean if key == "accuracy" else entry.score(key)))


def sorted_runs(runs: Sequence[Run], key: str | None) -> list[Run]:
    """Returns the runs by one of `SORT_KEYS`, best first and failed ones last; None leaves them as they are."""
    if key is None:
        return list(runs)
    done = [run for run in runs if not run.failure]
    failed = [run for run in runs if run.failure]
    if key == "seconds":
        return [*sorted(done, key=lambda run: run.seconds), *failed]
    if key == "gap":
        return [*sorted(done, key=_gap), *failed]
    return [*sorted(done, key=lambda run: run.metrics["val"][key], reverse=key != "loss"), *failed]


def _gap(run: Run) -> float:
    return float(run.metrics["train"]["accuracy"] - run.metrics["val"]["accuracy"])


def write_board_csv(runs: Sequence[Run], path: Path) -> None:
    """Writes the runs as a CSV file, one column for each metric and each parameter; lists are JSON."""
    from featurebank.runs.leaderboard import run_rows
    from featurebank.system.csv_files import write_csv

    rows = run_rows(runs)
    write_csv(path, list(rows[0]) if rows else ["run"], (list(row.values()) for row in rows))
