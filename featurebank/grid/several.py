"""Trains one grid on several banks that hold the same images, one bank after another.

Every run is recorded in its bank as soon as it is trained, as on one bank, so that the same command continues after an
interruption. Each bank keeps the weights of its best run, among them those of the best run of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from featurebank.bank import Bank
from featurebank.bank.comparison.same_images import check_same_images
from featurebank.errors import HeadError
from featurebank.fitting.spec import HeadSpec
from featurebank.grid.files import Grid
from featurebank.grid.options import GridOptions
from featurebank.grid.stage import MakeRunner, expanded, in_this_process, train_grid, train_specs
from featurebank.grid.time_budget import Clock
from featurebank.metrics import metric_of
from featurebank.runs.ranking import ranked
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run
from featurebank.runs.several import Banks, as_list
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

_LEAST_S = 1e-3
"""The smallest time budget of a bank: runs that are recorded already take none."""


def train_on_banks(
    banks: Banks, grid: Grid, options: GridOptions, reporter: Reporter = SILENT,
    make_runner: MakeRunner = in_this_process,
) -> list[RunRecord]:  # fmt: skip
    """Does the work of `train_heads` on one bank or several.

    Args:
        banks: the bank, or several banks that hold the same images.
        grid: the heads. A head that a bank cannot hold, because it lacks the tap, is left out there.
        options: how they are trained. The budget is for all banks together: each one gets an equal part of what is
            left when its turn comes.
        reporter: receives the progress and the warnings.
        make_runner: makes what trains the jobs.

    Raises:
        ConfigError: the banks do not hold the same images, or the grid has errors.
        HeadError: there is no usable run on any bank.
    """
    listed = as_list(banks)
    if len(listed) == 1:
        return train_grid(listed[0], grid, options, reporter, make_runner)
    check_same_images(listed)
    clock = Clock(options.budget)
    heads = expanded(grid, listed, options, reporter)
    plans = [(bank, specs) for bank, specs in zip(listed, heads, strict=True) if specs]
    results = _train_all(plans, options, clock, reporter, make_runner)
    return _in_order(results, options, listed[0])


def _train_all(
    plans: Sequence[tuple[Bank, Sequence[HeadSpec]]], options: GridOptions, clock: Clock, reporter: Reporter,
    make_runner: MakeRunner,
) -> list[RunRecord]:  # fmt: skip
    """Returns the runs of all banks."""
    results: list[RunRecord] = []
    failures: list[HeadError] = []
    for number, (bank, specs) in enumerate(plans):
        reporter.say(f"bank {number + 1} of {len(plans)}: {bank.name}, {counted(len(specs), 'head')}")
        own = options
        if options.budget is not None:
            own = replace(options, budget=max(_LEAST_S, clock.unspent / (len(plans) - number)))
        try:
            results += train_specs(bank, specs, own, Clock(own.budget), reporter=reporter, make_runner=make_runner)
        except HeadError as error:  # no run of this bank can be used; those of the others can
            failures.append(error)
            reporter.say(f"'{bank.name}': {error}")
    if not results:
        raise failures[0]
    return results


def _in_order(runs: Sequence[RunRecord], options: GridOptions, bank: Bank) -> list[RunRecord]:
    """Returns the runs, best first; with folds, that of the best head on its bank's own split comes before all."""
    fold = options.fold_list(bank)[0]
    protocol = 1 if fold is None else fold.protocol
    metric = metric_of(options.metric, bank.classes)
    ordered = ranked(runs, folds=protocol, metric=metric)
    if protocol == 1:
        return ordered
    best = choose_run(runs, folds=protocol, metric=metric)
    return [best, *(run for run in ordered if run is not best)]
