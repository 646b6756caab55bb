"""Stage: a bank and a grid -> runs.

The digest of its specification, seed, fold and bank identifies a run, and each run is recorded as soon as it is
trained: a stopped grid continues where it stopped, and an extended grid trains only its new heads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from featurebank.bank import Bank
from featurebank.bank.locks.claims import Claims
from featurebank.bank.vectors import positions_in
from featurebank.errors import BankWarning, ConfigError, DatasetWarning, FeatureBankError, HeadError, raise_all
from featurebank.fitting.checks import check_splits
from featurebank.fitting.folds import check_folds
from featurebank.fitting.spec import HeadSpec
from featurebank.fitting.weights import training_images
from featurebank.grid.expand import expand_on
from featurebank.grid.files import Grid
from featurebank.grid.jobs import Job, job, plan
from featurebank.grid.journal import Journal
from featurebank.grid.options import GridOptions
from featurebank.grid.search import RUNGS, racers, rung_jobs, sample, winners
from featurebank.grid.time_budget import Clock
from featurebank.grid.worker import JobRunner
from featurebank.metrics import Metric, metric_of
from featurebank.runs.predictions.scoring import scored
from featurebank.runs.ranking import ranked
from featurebank.runs.run import RunRecord
from featurebank.system.alike import enumerate_some
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, every


class Runner(Protocol):
    """Trains planned jobs: in this process (`worker.JobRunner`), or on a cluster."""

    def train(self, jobs: Sequence[Job], *, what: str = "heads", keep: bool = False) -> None:
        """Trains those of the jobs that have no record yet, until all have one or the budget ends.

        Args:
            jobs: the planned jobs.
            what: the label of the progress bar.
            keep: whether to save the weights of each run.
        """

    def train_again(self) -> None:
        """Trains the run that ranks first once more if its weights were not saved, and saves them."""


MakeRunner = Callable[[Bank, Journal, Clock, Sequence[HeadSpec], Reporter], AbstractContextManager[Runner]]


@contextlib.contextmanager
def in_this_process(
    bank: Bank, journal: Journal, clock: Clock, specs: Sequence[HeadSpec], reporter: Reporter
) -> Iterator[Runner]:
    """Makes a runner that trains in this process."""
    with Claims(bank.path / "runs", partial(reporter.warn, kind=BankWarning)) as claims:
        yield JobRunner(bank, journal, claims, clock, reporter)


def train_grid(
    bank: Bank, grid: Grid, options: GridOptions, reporter: Reporter = SILENT,
    make_runner: MakeRunner = in_this_process,
) -> list[RunRecord]:  # fmt: skip
    """Does the work of `train_heads`, with an options object.

    Args:
        bank: the bank.
        grid: the heads.
        options: how they are trained.
        reporter: receives the progress and the warnings.
        make_runner: makes what trains the jobs.
    """
    clock = Clock(options.budget)
    (specs,) = expanded(grid, [bank], options, reporter)
    return train_specs(bank, specs, options, clock, reporter=reporter, make_runner=make_runner)


def expanded(
    grid: Grid, banks: Sequence[Bank], options: GridOptions, reporter: Reporter = SILENT
) -> list[list[HeadSpec]]:  # fmt: skip
    """Returns the heads of a grid for each bank, after a check of the metric that ranks them.

    Args:
        grid: the grid.
        banks: one bank, or several that hold the same images.
        options: how the heads are trained.
        reporter: see `expand_on`.

    Raises:
        UnknownNameError, ConfigError: the metric is invalid, or the grid has errors; the message has all problems.
    """
    problems, heads = list[FeatureBankError](), list[list[HeadSpec]]()
    try:
        metric_of(options.metric, banks[0].classes)
    except ConfigError as error:
        problems.append(error)
    try:
        size = sample_size(banks[0], options)
        heads = expand_on(grid, banks, options.taps, views=options.views, sample=size, reporter=reporter)
    except ConfigError as error:
        problems.append(error)
    raise_all(problems)
    return heads


def train_specs(
    bank: Bank, specs: Sequence[HeadSpec], options: GridOptions, clock: Clock, *, reporter: Reporter = SILENT,
    make_runner: MakeRunner = in_this_process,
) -> list[RunRecord]:  # fmt: skip
    """Trains the heads of an expanded grid on one bank; see `train_grid`.

    Args:
        bank: the bank.
        specs: the heads.
        options: how they are trained.
        clock: the time budget.
        reporter: receives the progress and the warnings.
        make_runner: makes what trains the jobs.
    """
    if options.runs is not None:
        specs = sample(specs, options.runs)
    metric = metric_of(options.metric, bank.classes)
    _check_scores(specs, metric)
    first_fold = options.fold_list(bank)[0]
    protocol = 1 if first_fold is None else first_fold.protocol
    journal = Journal(bank, reporter, protocol, metric=metric)
    with make_runner(bank, journal, clock, specs, reporter) as runner:
        stage = _GridRun(bank, options, journal, runner, reporter)
        jobs = stage.race(specs) if options.search == "halving" else stage.all(specs)
        results = [journal.runs[job.run] for job in jobs if job.run in journal.runs]
        _refuse_nothing(results, jobs, options)
        stage.score(jobs)
        stage.keep_best(results)
        results = ranked((journal.runs[run.run] for run in results), folds=protocol, metric=metric)
        first = stage.on_own_split(results)
    if len(results) < len(jobs):
        reporter.say(
            f"the budget of {options.budget:g} s is spent: {len(jobs) - len(results)} of {counted(len(jobs), 'run')} "
            "were skipped; the same command continues with them"
        )
    return [*first, *results]


class _GridRun:
    """One call of `train_heads`."""

    def __init__(self, bank: Bank, options: GridOptions, journal: Journal, runner: Runner, reporter: Reporter) -> None:
        self._bank, self._options, self._journal, self._runner, self._reporter = (
            bank,
            options,
            journal,
            runner,
            reporter,
        )
        self._metric = metric_of(options.metric, bank.classes)
        self._trained = False

    def all(self, specs: Sequence[HeadSpec]) -> list[Job]:
        """Trains all heads for all their epochs; returns the planned jobs."""
        jobs = plan(specs, self._options, self._bank)
        self._train(jobs)
        return jobs

    def race(self, specs: Sequence[HeadSpec]) -> list[Job]:
        """Runs successive halving for heads with epochs and trains the others fully; returns the jobs of the result."""
        racing = racers(specs)
        keys = {spec.key for spec in racing}
        jobs = self.all([spec for spec in specs if spec.key not in keys])
        for number in range(1, RUNGS):
            rung = rung_jobs(plan(racing, self._options, self._bank), number, self._bank)
            self._train(rung, what=f"rung {number} of {RUNGS}")
            if self._journal.missing(rung):
                return [*jobs, *rung]
            self.score(rung)
            before, racing = len(racing), winners(rung, self._journal.runs, metric=self._metric)
            keys = {spec.key for spec in racing}
            jobs += [job for job in rung if job.spec.key not in keys]
            if before:
                self._reporter.say(f"rung {number} of {RUNGS}: {len(racing)} of {counted(before, 'head')} continue")
        return [*jobs, *self.all(racing)] if racing else jobs

    def _train(self, jobs: Sequence[Job], *, what: str = "heads") -> None:
        if self._options.retry_failed:
            self._journal.forget(job.run for job in jobs)
        missing = len(self._journal.missing(jobs))
        self._journal.rename(jobs)
        if jobs:
            self._reporter.say(f"{counted(len(jobs), 'run')}: {len(jobs) - missing} trained before, {missing} to train")
        for line in (self._bank.weight_line(), self._bank.unlabelled_line()):
            if missing and line:
                self._reporter.say(line)
        if missing and self._options.folds:
            check_splits(self._bank)  # the best head is finally trained on it
            if isinstance(self._options.folds, int) and (few := check_folds(self._bank, self._options.folds)):
                self._reporter.warn(few, DatasetWarning)
        self._trained = self._trained or missing > 0
        self._runner.train(jobs, what=what)

    def score(self, jobs: Sequence[Job]) -> None:
        """Scores the runs of jobs by the metric if they were trained before and their records do not have it."""
        known = [self._journal.runs[planned.run] for planned in jobs if planned.run in self._journal.runs]
        for run in scored(known, self._metric, self._reporter):
            if self._journal.runs.get(run.run) != run:
                self._journal.learn(run)

    def keep_best(self, runs: Sequence[RunRecord]) -> None:
        """Ensures that the weights of the run that ranks first are saved, if this call trained anything."""
        if self._trained and not self._options.folds and runs:
            self._runner.train_again()

    def on_own_split(self, runs: Sequence[RunRecord]) -> list[RunRecord]:
        """Trains the best head of the cross-validation on the bank's own split, and returns its run."""
        if not self._options.folds or runs[0].failure or runs[0].rung:
            return []
        planned = job(runs[0].spec, self._options.seed_list()[0], self._bank)
        self._runner.train([planned], what="best head", keep=True)
        return [self._journal.runs[planned.run]] if planned.run in self._journal.runs else []


def _check_scores(specs: Sequence[HeadSpec], metric: Metric) -> None:
    """Raises ConfigError if heads say no more than a class for each image, but the metric needs probabilities."""
    silent = {} if not metric.needs_scores else {spec.kind: spec for spec in specs if not spec.gives_scores}
    if silent:
        message = (
            f"the metric '{metric.name}' needs probabilities, but {enumerate_some(list(silent))} "
            f"{'says' if len(silent) == 1 else 'say'} only the class of an image: leave "
            f"{'this head' if len(silent) == 1 else 'these heads'} out, or rank by accuracy, balanced_accuracy, "
            "macro_f1 or recall:CLASS"
        )
        raise ConfigError(message)


def sample_size(bank: Bank, options: GridOptions) -> int | None:
    """Returns the number of training images to sample; None if the bank has no more, because that is the same run."""
    images = len(training_images(bank, positions_in(bank, "train", *(["val"] if options.folds else []))).positions)
    return None if options.sample is None or options.sample >= images else options.sample


def _refuse_nothing(runs: Sequence[RunRecord], jobs: Sequence[Job], options: GridOptions) -> None:
    """Raises HeadError if there is no usable run: all failed, or the budget was too short."""
    if not runs:
        message = (
            f"the budget of {options.budget:g} s is too short for any of the {counted(len(jobs), 'run')}: allow more "
            "seconds, or use a smaller grid"
        )
        raise HeadError(message)
    if all(run.failure for run in runs):
        first = ranked(runs)[0]
        message = f"{every(len(runs), 'run')} failed; the first: {first.spec}: {first.failure}"
        raise HeadError(message)
