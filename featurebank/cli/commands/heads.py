"""`featurebank heads` and `featurebank leaderboard`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.leaderboard_view import SHOWN, SORT_KEYS, board_json, print_best, print_board, write_board_csv
from featurebank.cli.options import cluster_option, count, read_params, without_defaults
from featurebank.cli.several_banks import open_banks, say_what_is_missing
from featurebank.cli.terminal import print_json

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.metrics import Metric
    from featurebank.runs.run import RunRecord


def _number(context: click.Context, option: click.Parameter, value: str | None) -> int | str | None:
    """Parses "--folds 5" and "--folds given"."""
    return int(value[:9]) if value and value.isascii() and value.isdigit() else value


def _shown_folds(context: click.Context, option: click.Parameter, value: str | None) -> int | str | None:
    folds = _number(context, option, value)
    if folds in {None, "given"} or (isinstance(folds, int) and folds >= 1):
        return folds
    message = f"'{value}': expected a whole number of 1 or more, such as 5, or given"
    raise click.BadParameter(message)


def _named(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> None:
    if values:
        from featurebank.backbone.naming import name_function

        for value in values:
            name_function(value)


_bank = click.option(
    "--bank",
    metavar="BANK",
    help="Path or name of a bank, or the beginning of its name.  [default: the last used bank]",
)
_own = click.option(
    "--backbone", multiple=True, metavar="MODULE:FUNCTION", expose_value=False, callback=_named,
    help="The function that builds the bank's network, if it is your own; code that a file names is never run.  "
    "Repeatable, for several banks.",
)  # fmt: skip


_banks = click.option(
    "--bank",
    metavar="BANK|all-of:DATASET",
    help="Path or name of a bank, or the beginning of its name; all-of:DATASET takes all banks of a dataset.  "
    "[default: the last used bank]",
)


def bank_option(command: Any) -> Any:
    """Adds --bank, and --backbone for banks of a user's network."""
    return _bank(_own(command))


def banks_option(command: Any) -> Any:
    """Adds what `bank_option` adds, for a command that works on several banks of a dataset, too."""
    return _banks(_own(command))


test_option = click.option("--test", is_flag=True, help="Also evaluate the selected run on the test split.")
one_se_option = click.option(
    "--one-se", is_flag=True, help="Select the simplest head within one standard error of the best."
)
metric_option = click.option(
    "--metric", default="accuracy", show_default=True, metavar="METRIC",
    help="Rank heads by METRIC: accuracy, balanced_accuracy, macro_f1, log_loss, auroc, average_precision, top5, "
    "brier, recall:CLASS or cost:FILE.csv.",
)  # fmt: skip
tensorboard_option = click.option(
    "--tensorboard", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Also write the runs to DIR for TensorBoard.",
)  # fmt: skip


@click.command()
@banks_option
@click.option(
    "--grid", is_flag=False, flag_value="default", metavar="[NAME|FILE]",
    help="Grid of heads to train: quick, default, wide, study-a to study-e, or a TOML file with [[head]] blocks.  "
    "[default: default]",
)  # fmt: skip
@click.option(
    "--head", multiple=True, metavar="KIND",
    help="Train this kind of head, or a scikit-learn classifier, such as sklearn.svm:SVC; repeatable.",
)  # fmt: skip
@click.option(
    "--list", "listed", is_flag=False, flag_value="", metavar="[KIND]",
    help="List the kinds of heads, or the parameters of KIND, and stop.",
)  # fmt: skip
@click.option("-p", "params", multiple=True, metavar="KEY=VALUE", help="Set a parameter of each --head; repeatable.")
@click.option(
    "--tap", "taps", multiple=True, metavar="TAP",
    help="Stored features to train on; repeatable.  [default: pooled, or the bank's first tap]",
)  # fmt: skip
@click.option(
    "--seeds",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Train each head with N seeds.",
)
@click.option(
    "--search", type=click.Choice(["all", "random", "halving"]), default="all", show_default=True,
    help="all trains every head of the grid, random a sample of --runs heads; halving trains in rounds, and drops the "
    "worse heads with epochs after each.",
)  # fmt: skip
@click.option("--runs", type=int, metavar="N", help="Number of heads that --search random trains.")
@click.option(
    "--folds", callback=_number, metavar="K|given",
    help="Cross-validate on K folds of the training and validation images, or on the dataset's own (folders fold1, "
    "fold2, ... or a column 'fold').  [default: one validation split]",
)  # fmt: skip
@click.option(
    "--repeats",
    type=int,
    default=1,
    show_default=True,
    metavar="R",
    help="Repeat the cross-validation R times.",
)
@click.option(
    "--budget",
    type=float,
    metavar="SECONDS",
    help="Stop after about this time; finished runs are saved.  [default: no limit]",
)
@click.option("--retry-failed", is_flag=True, help="Train heads that failed before again.")
@click.option(
    "--views",
    type=int,
    metavar="N",
    help="Train heads with epochs on each image and its first N augmented views; 0 is the image alone.  [default: all "
    "views of the bank]",
)
@click.option(
    "--sample",
    type=int,
    metavar="N",
    help="Train on a random sample of N training images, the same in each call; for heads that need all features in "
    "memory.  [default: all]",
)
@metric_option
@cluster_option
@one_se_option
@tensorboard_option
@test_option
@as_json
@click.pass_obj
def heads(
    settings: Settings, /, bank: str | None, grid: str | None, head: tuple[str, ...], listed: str | None,
    params: tuple[str, ...], tensorboard: Path | None, *, one_se: bool, test: bool, as_json: bool, **values: Any
) -> None:  # fmt: skip
    """Train many heads on the features of a bank.

    Heads that were trained before are skipped.
    """
    if listed is not None:
        from featurebank.cli.head_lists import print_kinds, print_parameters

        print_parameters(listed, as_json=as_json) if listed else print_kinds(as_json=as_json)
        return
    if grid and head:
        message = "--grid and --head exclude each other: leave one of them out"
        raise click.UsageError(message)
    if params and not head:
        message = "-p belongs to --head KIND (in a grid file, write parameters in its [[head]] block)"
        raise click.UsageError(message)
    from featurebank.cluster.training.heads import run_grid
    from featurebank.grid import GridOptions
    from featurebank.metrics import metric_of

    began = time.perf_counter()
    options = GridOptions(**without_defaults(values))
    banks = open_banks(settings, bank)
    specification: Any = [{"kind": kind, **read_params(params)} for kind in head] if head else grid or "default"
    runs = run_grid(banks, specification, options, settings.reporter())
    log_runs(runs, tensorboard)
    metric = metric_of(options.metric, banks[0].classes)
    _show(settings, banks, runs, began=began, one_se=one_se, test=test, as_json=as_json, metric=metric)


@click.command()
@banks_option
@click.option(
    "--sort", type=click.Choice(SORT_KEYS), help="Sort by this figure.  [default: --metric, then fewer parameters]"
)
@click.option("--top", type=count, metavar="N", help=f"Show N heads.  [default: {SHOWN}; with --json, all]")
@click.option(
    "--folds",
    callback=_shown_folds,
    metavar="K|given",
    help="Show runs that were cross-validated on K folds, or on the dataset's own folds; 1 shows runs without folds.  "
    "[default: as in the latest grid]",
)
@click.option("--all", "all_banks", is_flag=True, help="Rank the heads of all banks of this bank's dataset together.")
@click.option(
    "--measure", is_flag=True,
    help="Measure on this machine how many images a second each network handles up to each tap.",
)  # fmt: skip
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write all runs to FILE.",
)  # fmt: skip
@metric_option
@one_se_option
@tensorboard_option
@test_option
@as_json
@click.pass_obj
def leaderboard(
    settings: Settings, bank: str | None, sort: str | None, top: int | None, folds: Any, metric: str,
    csv_file: Path | None, tensorboard: Path | None, *, all_banks: bool, measure: bool, one_se: bool, test: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """List the trained heads of one bank or several, best first.

    The ranking uses the validation images, never the test split.
    """
    from featurebank.fitting.folds import requested_protocol
    from featurebank.metrics import metric_of
    from featurebank.runs.costs.speed import measure_speeds
    from featurebank.runs.predictions.scoring import scored
    from featurebank.runs.selection import ranked_runs
    from featurebank.runs.several import bank_of, runs_of

    began = time.perf_counter()
    banks = open_banks(settings, bank, all_banks=all_banks)
    by, reporter = metric_of(metric, banks[0].classes), settings.reporter()
    runs = ranked_runs(banks, folds=requested_protocol(folds, banks[0]), metric=by, reporter=reporter)
    say_what_is_missing(banks, runs, reporter)
    if measure:
        measure_speeds([(bank_of(run, banks), run.tap) for run in runs if not run.failure], reporter)
    if csv_file:
        write_board_csv(runs, csv_file)
    log_runs(runs, tensorboard)
    own = [] if runs.folds == 1 else [run for run in runs_of(banks) if run.folds == 1]
    every = [*runs, *scored(own, by, reporter)]
    _show(
        settings, banks, runs, every, began=began, folds=runs.folds, one_se=one_se, test=test, as_json=as_json,
        sort=sort, top=top, metric=by,
    )  # fmt: skip


def log_runs(runs: Sequence[RunRecord], directory: Path | None) -> None:
    """Writes runs for TensorBoard, unless `directory` is None."""
    if directory is not None:
        from featurebank.runs.logs.tensorboard import write_tensorboard

        write_tensorboard(runs, directory)


def _show(
    settings: Settings, banks: Sequence[Bank], runs: Sequence[RunRecord], every: Sequence[RunRecord] = (), *,
    began: float,
    folds: int | None = None, one_se: bool, test: bool, as_json: bool, sort: str | None = None, top: int | None = None,
    metric: Metric,
) -> None:  # fmt: skip
    """Prints runs; the selected run may occur only in `every`: after cross-validation it is trained without folds."""
    from featurebank.bank.catalog import ALL_OF
    from featurebank.bank.last_use import note_use
    from featurebank.runs.selection import choose_run, open_test
    from featurebank.runs.several import bank_of

    best = choose_run(every or runs, folds=folds, rule="one-se" if one_se else "best", metric=metric)
    bank = bank_of(best, banks)
    if len(banks) > 1:  # the next command works on the bank of the best run
        note_use(settings.cache, bank.path, click.get_current_context().info_name or "")
    if test:
        best = open_test(bank, best, reporter=settings.reporter())
    if as_json:
        board = board_json(runs, best, sort=sort, top=top, metric=metric)
        print_json({**board, "seconds": round(time.perf_counter() - began, 3)})
        return
    name = bank.name if len(banks) == 1 else f"{ALL_OF}{bank.manifest.dataset['name']}"
    more = f"featurebank leaderboard --bank {name}"
    print_board(runs, best, more=more, top=top or SHOWN, sort=sort, metric=metric)
    print_best(bank, best, runs, metric=metric)
