"""Stage: a bank and a grid -> runs.

The digest of its specification, seed, fold and bank identifies a run, and each run is recorded as soon as it is
trained: a stopped grid continues where it stopped, and an extended grid trains only its new heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from featurebank.bank import Bank
from featurebank.bank.locks.claims import Claims
from featurebank.errors import HeadError
from featurebank.fitting.data import check_splits
from featurebank.fitting.folds import check_folds
from featurebank.fitting.spec import HeadSpec
from featurebank.grid.expand import expand
from featurebank.grid.files import Grid
from featurebank.grid.jobs import Job, job, plan
from featurebank.grid.journal import Journal
from featurebank.grid.options import GridOptions
from featurebank.grid.search import RUNGS, racers, rung_jobs, sample, winners
from featurebank.grid.time_budget import Clock
from featurebank.grid.worker import JobRunner
from featurebank.runs.ranking import ranked
from featurebank.runs.run import RunRecord
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, every


def train_heads(
    bank: Bank,
    grid: Grid = "default",
    *,
    seeds: int | Sequence[int] = 1,
    taps: Sequence[str] | None = None,
    search: Literal["all", "random", "halving"] = "all",
    runs: int | None = None,
    folds: int | Literal["given"] | None = None,
    repeats: int = 1,
    budget: float | None = None,
    retry_failed: bool = False,
    views: int | None = None,
    reporter: Reporter = SILENT,
) -> list[RunRecord]:
    """Trains the heads of a grid on a bank's training images and evaluates them on its validation images.

    Heads that were trained before are read from their records, even if another process trains on the same bank. The
    weights of the run that ranks first are saved. The test split is not used.

    Args:
        bank: the bank with the features.
        grid: the grid of heads.
        seeds: the number of seeds (0, 1, ...), or a list of seeds; deterministic heads are trained once.
        taps: the taps for heads that name none themselves; default "pooled", or the bank's first tap.
        search: "all" heads of the grid, a "random" sample, or "halving": successive halving over epochs, which stops
            worse heads early (their rows say where, and come after the others).
        runs: the size of the random sample, which is always the same.
        folds: the number of cross-validation folds of the training and validation images, or "given" for the
            dataset's own folds (folders fold1, fold2, ..., or a column `fold` of a table). The best head is also
            trained on the bank's own training images, and its weights are saved.
        repeats: the number of different divisions into folds.
        budget: time limit in seconds; heads that would exceed it by more than a tenth are skipped and reported.
        retry_failed: train heads that failed before again.
        views: the number of augmented views of each training image, besides the clean one, for heads with epochs;
            default: all views of the bank.
        reporter: shows the progress.

    Returns:
        The runs of this grid, best first; stopped and failed runs last. With folds, the run of the best head on the
        bank's own split comes first.

    Raises:
        ConfigError: the grid or an option is invalid; the message has every problem, and nothing was started.
        DatasetError: a split is empty, the training images have only one class, or a class has fewer images than folds.
        HeadError: every run failed, or the budget is too short for even the cheapest head.
    """
    options = GridOptions(
        seeds=seeds, taps=taps, search=search, runs=runs, folds=folds, repeats=repeats, budget=budget,
        retry_failed=retry_failed, views=views,
    )  # fmt: skip
    return train_grid(bank, grid, options, reporter)


def train_grid(bank: Bank, grid: Grid, options: GridOptions, reporter: Reporter = SILENT) -> list[RunRecord]:
    """Does the work of `train_heads`, with an options object."""
    clock = Clock(options.budget)
    specs = expand(grid, bank, options.taps, views=options.views, reporter=reporter)
    if options.runs is not None:
        specs = sample(specs, options.runs)
    first_fold = options.fold_list(bank)[0]
    protocol = 1 if first_fold is None else first_fold.protocol
    journal = Journal(bank, reporter, protocol)
    with Claims(bank.path / "runs", reporter.warn) as claims:
        stage = _GridRun(bank, options, journal, JobRunner(bank, journal, claims, clock, reporter), reporter)
        jobs = stage.race(specs) if options.search == "halving" else stage.all(specs)
        results = [journal.runs[job.run] for job in jobs if job.run in journal.runs]
        _refuse_nothing(results, jobs, options)
        stage.keep_best(results)
        results = ranked((journal.runs[run.run] for run in results), folds=protocol)
        first = stage.on_own_split(results)
    if len(results) < len(jobs):
        reporter.say(
            f"the budget of {options.budget:g} s is spent: {len(jobs) - len(results)} of {counted(len(jobs), 'run')} "
            "were skipped; the same command continues with them"
        )
    return [*first, *results]


class _GridRun:
    """One call of `train_heads`."""

    def __init__(
        self, bank: Bank, options: GridOptions, journal: Journal, runner: JobRunner, reporter: Reporter
    ) -> None:
        self._bank, self._options, self._journal, self._runner, self._reporter = (
            bank,
            options,
            journal,
            runner,
            reporter,
        )
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
            before, racing = len(racing), winners(rung, self._journal.runs)
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
        if missing and self._options.folds:
            check_splits(self._bank)  # the best head is finally trained on it
            if isinstance(self._options.folds, int) and (few := check_folds(self._bank, self._options.folds)):
                self._reporter.warn(few)
        self._trained = self._trained or missing > 0
        self._runner.train(jobs, what=what)

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
