"""Stage: a bank and a grid -> runs.

A run is known by the digest of its specification, its seed, its fold and the bank, and is recorded as soon as it is
trained: a grid that is stopped goes on where it was, and one that grows trains only what is new.
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
from featurebank.grid.worker import Workshop
from featurebank.runs.ranking import ranked
from featurebank.runs.run import Run
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
) -> list[Run]:
    """Trains the heads of a grid on a bank's training images and scores them on its validation images.

    What was trained before is taken from its record, also where another process trains on the same bank. The weights
    of the run that ranks first are kept. The test split is not touched.

    Args:
        bank: the features.
        grid: what to train.
        seeds: how many seeds (0, 1, ...), or which; heads without chance are trained once.
        taps: what heads are trained on that name no tap themselves; default "pooled", where the bank has it.
        search: "all" heads of the grid, so many of them at "random", or "halving": a race over epochs, whose losers
            are stopped early (their rows say where, and come after the others).
        runs: how many heads "random" takes; the same ones each time.
        folds: score on so many folds of the training and validation images, or on those that the dataset brings
            ("given": folders fold1, fold2, ..., or a column `fold` of a table). The best head is trained on the
            training images alone as well, and its weights are kept.
        repeats: how many different divisions into folds.
        budget: seconds; heads that would end more than a tenth later are not begun. What is left out is told.
        retry_failed: train anew what failed before.
        views: how many augmented views of each training image heads with epochs are trained on, beside the clean one;
            default: all that the bank has.
        reporter: where progress is shown.

    Returns:
        The runs of this grid, best first; those that a race stopped and failed ones last. With folds, the run of the
        best head on the bank's own split comes first.

    Raises:
        ConfigError: the grid or an option is wrong; every problem is told and nothing was started.
        DatasetError: a split is empty, the training images are of one class, or a class has fewer images than folds.
        HeadError: every run failed, or not even the cheapest fits the budget.
    """
    options = GridOptions(
        seeds=seeds, taps=taps, search=search, runs=runs, folds=folds, repeats=repeats, budget=budget,
        retry_failed=retry_failed, views=views,
    )  # fmt: skip
    return train_grid(bank, grid, options, reporter)


def train_grid(bank: Bank, grid: Grid, options: GridOptions, reporter: Reporter = SILENT) -> list[Run]:
    """Does what `train_heads` does, with options that are made."""
    clock = Clock(options.budget)
    specs = expand(grid, bank, options.taps, views=options.views, reporter=reporter)
    if options.runs is not None:
        specs = sample(specs, options.runs)
    first_fold = options.chosen_folds(bank)[0]
    protocol = 1 if first_fold is None else first_fold.protocol
    journal = Journal(bank, reporter, protocol)
    with Claims(bank.path / "runs", reporter.warn) as claims:
        stage = _GridRun(bank, options, journal, Workshop(bank, journal, claims, clock, reporter), reporter)
        jobs = stage.race(specs) if options.search == "halving" else stage.all(specs)
        found = [journal.runs[job.run] for job in jobs if job.run in journal.runs]
        _refuse_nothing(found, jobs, options)
        stage.keep_best(found)
        found = ranked((journal.runs[run.run] for run in found), folds=protocol)
        first = stage.on_own_split(found)
    if len(found) < len(jobs):
        reporter.say(
            f"the budget of {options.budget:g} s is spent: {len(jobs) - len(found)} of {counted(len(jobs), 'run')} "
            "were left out; the same command goes on with them"
        )
    return [*first, *found]


class _GridRun:
    """One call of `train_heads`."""

    def __init__(self, bank: Bank, options: GridOptions, journal: Journal, shop: Workshop, reporter: Reporter) -> None:
        self._bank, self._options, self._journal, self._shop, self._reporter = bank, options, journal, shop, reporter
        self._trained = False

    def all(self, specs: Sequence[HeadSpec]) -> list[Job]:
        """Trains all heads to their end; returns the jobs that were wanted."""
        jobs = plan(specs, self._options, self._bank)
        self._train(jobs)
        return jobs

    def race(self, specs: Sequence[HeadSpec]) -> list[Job]:
        """Lets heads with epochs race and trains the others to their end; returns the jobs whose runs count."""
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
                self._reporter.say(f"rung {number} of {RUNGS}: {len(racing)} of {counted(before, 'head')} go on")
        return [*jobs, *self.all(racing)] if racing else jobs

    def _train(self, jobs: Sequence[Job], *, what: str = "heads") -> None:
        if self._options.retry_failed:
            self._journal.forget(job.run for job in jobs)
        missing = len(self._journal.missing(jobs))
        self._journal.rename(jobs)
        if jobs:
            self._reporter.say(f"{counted(len(jobs), 'run')}: {len(jobs) - missing} trained before, {missing} to train")
        if missing and self._options.folds:
            check_splits(self._bank)  # the best one is trained on it in the end
            if isinstance(self._options.folds, int) and (few := check_folds(self._bank, self._options.folds)):
                self._reporter.warn(few)
        self._trained = self._trained or missing > 0
        self._shop.train(jobs, what=what)

    def keep_best(self, found: Sequence[Run]) -> None:
        """Sees to it that the weights of the run that ranks first are there, if something was trained."""
        if self._trained and not self._options.folds and found:
            self._shop.train_again()

    def on_own_split(self, found: Sequence[Run]) -> list[Run]:
        """Returns the run of the head that is best on folds, trained on the bank's own split."""
        if not self._options.folds or found[0].failure or found[0].rung:
            return []
        wanted = job(found[0].spec, self._options.chosen_seeds()[0], self._bank)
        self._shop.train([wanted], what="best head", keep=True)
        return [self._journal.runs[wanted.run]] if wanted.run in self._journal.runs else []


def _refuse_nothing(found: Sequence[Run], jobs: Sequence[Job], options: GridOptions) -> None:
    """Raises where no run can be shown: all failed, or none fitted the budget."""
    if not found:
        message = (
            f"the budget of {options.budget:g} s is too short for any of the {counted(len(jobs), 'run')}: give more "
            "seconds, or a smaller grid"
        )
        raise HeadError(message)
    if all(run.failure for run in found):
        first = ranked(found)[0]
        message = f"{every(len(found), 'run')} failed; the first: {first.spec}: {first.failure}"
        raise HeadError(message)
