"""`featurebank curves`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import open_bank
from featurebank.cli.terminal import echo, print_json, shown_path

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.runs.run import RunRecord
    from featurebank.system.progress import Reporter

_ALL = "all"


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--bank", metavar="BANK", help="Bank of the runs.  [default: the last used]")
@click.option(
    "-o", "--output", "files", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
    help="File to write: .png, .svg or .html for the curves, .json for the history; repeatable. With {run} in its "
    "name, as {run}.png, each run has a file of its own.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the files of -o if they exist.")
@click.option("--dark", is_flag=True, help="Draw .png and .svg for a dark page.")
@as_json
@click.pass_obj
def curves(
    settings: Settings, /, names: tuple[str, ...], bank: str | None, files: tuple[Path, ...], *, force: bool,
    dark: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show or write accuracy and loss of runs by epoch.

    RUN is best, the beginning of a run's id, or all.
    """
    from featurebank.runs.curves import curve_json, curve_summary, write_curves

    source, reporter = open_bank(settings, bank), settings.reporter()
    selected = _selected(source, names, reporter)
    with reporter.step("drawing the curves"):
        written = write_curves(files, selected, force=force, dark=dark)
    if as_json:
        objects = [{**curve_json(run), "over_fitting": curve_summary(run)["over_fitting"]} for run in selected]
        print_json({"bank": shown_path(source.path), "runs": objects, "files": list(map(str, written))})
        return
    _print(selected)
    for path in written:
        echo(f"written: {path}")


def _selected(bank: Bank, names: Sequence[str], reporter: Reporter) -> list[RunRecord]:
    """Returns the runs with these names, each once; of all runs, those that have curves."""
    from featurebank.errors import HeadError
    from featurebank.runs.curves import missing_curves
    from featurebank.runs.run import load_runs
    from featurebank.runs.selection import find_run, ranked_runs
    from featurebank.words import counted

    if _ALL not in names:
        found = {run.run: run for name in names for run in [find_run(bank, name)]}
        for run in found.values():
            if reason := missing_curves(run):
                message = f"{reason}; name other runs, or 'all' for each run that has curves"
                raise HeadError(message)
        return list(found.values())
    every = list({run.run: run for run in (*ranked_runs(bank), *load_runs(bank))}.values())  # the best first
    usable = [run for run in every if not missing_curves(run)]
    if not usable:
        message = (
            f"bank '{bank.name}' has {counted(len(every), 'run')}, none with curves: only heads that are trained in "
            "epochs, as softmax and mlp, and fine-tunes have curves"
        )
        raise HeadError(message)
    if len(usable) < len(every):
        reporter.say(f"{counted(len(every) - len(usable), 'run')} without curves left out")
    return usable


def _print(runs: Sequence[RunRecord]) -> None:
    from featurebank.cli.tables import print_table
    from featurebank.runs.curves import curve_summary
    from featurebank.words import counted

    rows = []
    for run in runs:
        summary = curve_summary(run)
        accuracy, span = summary["val_accuracy"], summary["over_fitting"]
        rows.append((
            run.run, run.spec, run.tap, summary["epochs"], summary["best_epoch"],
            "" if accuracy is None else f"{accuracy:.4f}", f"from {span[0]}" if span else "no",
        ))  # fmt: skip
    columns = ["run", "head", "tap", "epochs", "best epoch", "validation", "over-fits"]
    print_table(columns, rows, right=["epochs", "best epoch", "validation"], whole=["run", "over-fits"])
    over = sum(row[-1] != "no" for row in rows)
    what = "over-fits: its" if len(rows) == 1 else "over-fit: their"
    if over:
        echo(f"{over} of {counted(len(rows), 'run')} {what} validation loss rises again while the training loss falls")
