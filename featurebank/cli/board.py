"""The leaderboard: as a table in the terminal, as JSON values and as a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.heads.runs import Run

SORT_KEYS = ("accuracy", "loss", "macro_f1", "seconds", "gap")


def run_json(run: Run, best: Run) -> dict[str, Any]:
    """Returns a run for `--json`; only the chosen one shows its test metrics."""
    found = run.summary()
    if run.run != best.run or "test" not in run.metrics:
        found["metrics"] = {split: values for split, values in run.metrics.items() if split != "test"}
    return found


def print_runs(runs: Sequence[Run], best: Run) -> None:
    """Prints the table of runs; taps and seeds only where they differ."""
    from featurebank.cli.tables import print_table

    taps, seeds = len({run.tap for run in runs}) > 1, len({run.seed for run in runs}) > 1
    numbers = ("val acc", "95 % interval", "val loss", "macro F1", "train acc", "gap", "seconds")
    rows = []
    for run in runs:
        mark = "*" if run.run == best.run else " "
        where = (*((run.tap,) if taps else ()), *((run.seed,) if seeds else ()))
        rows.append((f"{mark} {run.run}", str(run.spec), *where, *_figures(run)))
    print_table(
        ("  run", "head", *(("tap",) if taps else ()), *(("seed",) if seeds else ()), *numbers),
        rows,
        right=("seed", *numbers),
    )
    for run in runs:
        if run.failure:
            click.echo(f"failed: {run.run} {run.spec}: {run.failure}")


def _figures(run: Run) -> tuple[str, ...]:
    if run.failure:
        return ("failed", "", "", "", "", "", f"{run.seconds:.2f}")
    val, train = run.metrics["val"], run.metrics["train"]
    low, high = val["accuracy_interval"]
    return (
        f"{val['accuracy']:.4f}", f"{low:.3f}-{high:.3f}", f"{val['loss']:.4f}", f"{val['macro_f1']:.4f}",
        f"{train['accuracy']:.4f}", f"{gap(run):+.3f}", f"{run.seconds:.2f}",
    )  # fmt: skip


def print_best(bank: Bank, best: Run) -> None:
    """Prints the chosen run, and its test accuracy if it has one."""
    val = best.metrics["val"]
    click.echo(f"chosen by validation: {best.run}  {best.spec}  validation accuracy {val['accuracy']:.4f}")
    if "test" in best.metrics:
        test = best.metrics["test"]
        low, high = test["accuracy_interval"]
        click.echo(
            f"test accuracy {test['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}) on {test['images']} images "
            f"kept apart, opened {best.tested}"
        )
    click.echo(f"runs: {bank.path / 'runs'}")


def gap(run: Run) -> float:
    """Returns by how much training accuracy is above validation accuracy."""
    return float(run.metrics["train"]["accuracy"] - run.metrics["val"]["accuracy"])


def sorted_runs(runs: Sequence[Run], key: str | None) -> list[Run]:
    """Returns the runs by one of `SORT_KEYS`, best first and failed ones last; None leaves them as they are."""
    if key is None:
        return list(runs)
    done = [run for run in runs if not run.failure]
    failed = [run for run in runs if run.failure]
    if key == "seconds":
        return [*sorted(done, key=lambda run: run.seconds), *failed]
    if key == "gap":
        return [*sorted(done, key=gap), *failed]
    return [*sorted(done, key=lambda run: run.metrics["val"][key], reverse=key != "loss"), *failed]


def write_csv(runs: Sequence[Run], path: Path) -> None:
    """Writes the runs as a CSV file, one column for each metric; parameters are one JSON text."""
    import csv
    import io
    import json

    from featurebank.files import write_bytes

    names = [f"{split}_{name}" for split in ("train", "val") for name in ("accuracy", "loss", "macro_f1")]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["run", "head", "params", "tap", "seed", "seconds", *names, "failure"])
    for run in runs:
        values = [run.metrics.get(n.partition("_")[0], {}).get(n.partition("_")[2], "") for n in names]
        start = [run.run, run.head, json.dumps(run.params, sort_keys=True), run.tap, run.seed, run.seconds]
        writer.writerow([*start, *values, run.failure or ""])
    write_bytes(path, buffer.getvalue().encode())
