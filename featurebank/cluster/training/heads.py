"""Trains grids on a cluster: slices of the grid are tasks, and the results are records on the shared disk.

The client plans, watches and ranks; the workers claim, train and record runs (`head_tasks`). Several clients, clusters
and plain processes may train the same grid at the same time, because all of them use the same claims.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featurebank import errors
from featurebank.bank import Bank
from featurebank.cluster.address import check_address
from featurebank.cluster.checks import probe_file
from featurebank.cluster.client import connect
from featurebank.cluster.dispatch import Dispatcher, Outcome
from featurebank.cluster.events import EventReader, label
from featurebank.cluster.training.head_checks import HeadAdmission
from featurebank.cluster.training.head_tasks import GridTask, SliceResult, train_slices
from featurebank.errors import ClusterError
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec
from featurebank.grid.files import Grid
from featurebank.grid.jobs import Job, job
from featurebank.grid.journal import Journal
from featurebank.grid.options import GridOptions
from featurebank.grid.several import train_on_banks
from featurebank.grid.slices import Slice, cut
from featurebank.grid.stage import Runner, in_this_process
from featurebank.grid.time_budget import Clock
from featurebank.grid.worker import LOOK_AGAIN_S
from featurebank.runs.run import RunRecord
from featurebank.runs.several import Banks
from featurebank.storage.caches import portable_path
from featurebank.system.backing.directories import entries
from featurebank.system.progress import SILENT, Advance, Reporter, no_advance
from featurebank.system.runtime import ram_option
from featurebank.words import counted

_VISIBLE_WITHIN_S = 60.0
"""A network disk may show a new file this late."""
_GRACE = 0.05
"""Workers end with the time budget by themselves; after this share of it they are left alone, because one may hang."""


def run_grid(banks: Banks, grid: Grid, options: GridOptions, reporter: Reporter = SILENT) -> list[RunRecord]:
    """Does the work of `train_heads`, in this process or, if the options name one, on a cluster.

    Of several banks, one after another is trained on the cluster.
    """
    if options.cluster:
        check_address(options.cluster)

    @contextlib.contextmanager
    def on_cluster(
        bank: Bank, journal: Journal, clock: Clock, specs: Sequence[HeadSpec], reporter: Reporter
    ) -> Iterator[Runner]:
        with ClusterRunner(bank, journal, clock=clock, specs=specs, options=options, reporter=reporter) as runner:
            yield runner

    return train_on_banks(banks, grid, options, reporter, on_cluster if options.cluster else in_this_process)


class _BudgetSpentError(Exception):
    """The time budget ended while workers were training."""


@dataclass
class _Share:
    """What a worker has done."""

    runs: int = 0
    seconds: float = 0.0


class ClusterRunner:
    """Trains jobs on a cluster; connects to it when there is something to train.

    Args:
        bank: the bank with the features.
        journal: the known runs; the records that workers write are added.
        clock: the time budget.
        specs: the heads of the grid.
        options: the options of the grid; `cluster` is the address.
        reporter: shows the progress.
    """

    def __init__(
        self, bank: Bank, journal: Journal, *, clock: Clock, specs: Sequence[HeadSpec], options: GridOptions,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._bank, self._journal, self._clock, self._options, self._reporter = bank, journal, clock, options, reporter
        self._heads = [replace(spec) for spec in {spec.kind: spec for spec in specs}.values()]  # without cached values
        self._stack = contextlib.ExitStack()
        self._dispatcher: Dispatcher[Slice] | None = None
        self._task: GridTask | None = None
        self._events = EventReader(reporter)
        self._open: dict[str, Job] = {}
        """The jobs without a record, as far as is known."""
        self._advance: Advance = no_advance
        self._shares: dict[str, _Share] = {}
        self._has_news = False
        self._unseen: dict[str, float] = {}
        """Recorded runs that this machine does not see yet, and since when."""

    def __enter__(self) -> ClusterRunner:
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            if not any(raised):
                self._report_shares()
        finally:
            self._stack.close()

    def train(self, jobs: Sequence[Job], *, what: str = "heads", keep: bool = False) -> None:
        """Trains those of the jobs that have no record yet, until all have one or the budget ends.

        Args:
            jobs: the planned jobs.
            what: the label of the progress bar.
            keep: whether to save the weights of each run.

        Raises:
            ClusterError: the cluster cannot be reached or used.
        """
        todo = self._journal.missing(jobs)
        if not todo:
            return
        with contextlib.suppress(_BudgetSpentError), self._reporter.track(what, len(todo), "runs") as self._advance:
            self._train(todo, keep=keep)
        self._advance = no_advance

    def _train(self, todo: list[Job], *, keep: bool) -> None:
        self._open, silent = {job.run: job for job in todo}, True
        dispatcher = self._connected()
        while todo and self._clock.left > 0:
            elsewhere = self._run(dispatcher, cut(todo, self._bank, self._workers(dispatcher)), keep=keep)
            if elsewhere and silent:
                self._reporter.say(f"waiting: another process trains {counted(len(elsewhere), 'run')}")
                silent = False
            if elsewhere:
                time.sleep(min(LOOK_AGAIN_S, max(0.0, self._clock.left)))
            self.look()
            todo = [self._open[name] for name in elsewhere if name in self._open]
            todo = self._journal.missing(todo)

    def train_again(self) -> None:
        """Lets a worker train the run that ranks first once more if its weights were not saved, and save them."""
        first = self._journal.first_without_weights()
        if first is None or self._dispatcher is None:
            return
        planned = job(first.spec, first.seed, self._bank)
        self._run(self._dispatcher, [Slice((planned,), 1.0)], again=True)
        self._journal.read_again(first.run)

    def arguments(self, slices: tuple[Slice, ...]) -> tuple[Any, ...]:
        """Returns the arguments of `train_slices`."""
        jobs = [[replace(job, spec=replace(job.spec)) for job in one.jobs] for one in slices]  # without cached values
        return self._task, jobs, self._clock.left

    def look(self) -> None:
        """Handles the events of workers, and reads the records that they have written.

        Raises:
            ClusterError: this machine does not see a record.
        """
        for name, worker in self._events.news():
            self._recorded(name, worker)
        if self._unseen:
            entries(self._bank.path / "runs")  # a network disk then looks for new files
            for name in list(self._unseen):
                self._look_for(name)
        if self._has_news:
            self._has_news = False
            self._journal.show()
        budget, again = self._clock.budget, self._task is not None and self._task.again
        if budget is not None and not again and self._clock.left < -_GRACE * budget:
            raise _BudgetSpentError

    def _connected(self) -> Dispatcher[Slice]:
        if self._dispatcher is None:
            assert self._options.cluster
            cluster = self._stack.enter_context(connect(self._options.cluster, reporter=self._reporter))
            probe = self._stack.enter_context(probe_file(self._bank.path.parent))
            fold = self._options.fold_list(self._bank)[0]
            ram = None if cluster.local else ram_option()
            self._task = GridTask(
                self._events.topic, portable_path(self._bank.path), self._bank.digest,
                1 if fold is None else fold.protocol, ram, retry_failed=self._options.retry_failed,
                metric=self._options.metric,
            )  # fmt: skip
            self._events.listen(cluster)
            admission = HeadAdmission(cluster, probe, self._heads)
            dispatcher = Dispatcher[Slice](
                cluster, train_slices, self.arguments, admission, reporter=self._reporter, is_final=_is_final,
                repeatable=False, on_look=self.look,
            )  # fmt: skip
            dispatcher.begin()
            self._dispatcher = dispatcher
        return self._dispatcher

    def _workers(self, dispatcher: Dispatcher[Slice]) -> int:
        return max(1, len(dispatcher.shares()))

    def _run(
        self, dispatcher: Dispatcher[Slice], slices: Sequence[Slice], *, keep: bool = False, again: bool = False
    ) -> list[str]:
        """Trains slices; returns the ids of the runs that other processes train."""
        assert self._task
        self._task = replace(self._task, keep=keep, again=again)
        elsewhere: list[str] = []
        for outcome in dispatcher.run(slices):
            elsewhere += self._finish(outcome)
            self.look()
        while self._unseen:
            time.sleep(LOOK_AGAIN_S)
            self.look()
        return elsewhere

    def _finish(self, outcome: Outcome[Slice]) -> tuple[str, ...]:
        """Handles the outcome of a batch; returns the ids of the runs that other processes train."""
        if outcome.reason:
            for planned in (job for one in outcome.units for job in one.jobs):
                self._journal.record(planned, Fitted(None, 0.0, 1, {}, (), outcome.reason, short=True))
                self._settle(planned.run)
            return ()
        result: SliceResult = outcome.value
        self._share(result.worker).seconds += result.seconds
        for run in result.short:
            self._journal.learn(run)
            self._settle(run.run)
        for name in result.recorded:
            self._recorded(name, result.worker)
        for name in result.known:
            self._recorded(name)
        return result.elsewhere

    def _recorded(self, name: str, worker: str | None = None) -> None:
        """Notes that a run is recorded, by a worker or by another process."""
        if name not in self._open or name in self._unseen:
            return
        if worker:
            self._share(worker).runs += 1
        self._unseen[name] = time.monotonic()
        self._look_for(name)

    def _look_for(self, name: str) -> None:
        """Reads the record of a run that a worker knows."""
        if self._journal.missing([self._open[name]]):
            if time.monotonic() - self._unseen[name] > _VISIBLE_WITHIN_S:
                message = (
                    f"a worker sees the record of run {name}, but this machine does not see its file in "
                    f"'{self._bank.path / 'runs'}': expected a disk that all machines share"
                )
                raise ClusterError(message)
            return
        del self._unseen[name]
        self._settle(name)

    def _settle(self, name: str) -> None:
        if self._open.pop(name, None) is not None:
            self._has_news = True
            self._advance(1)

    def _report_shares(self) -> None:
        """Says what each worker has done."""
        waited = {share.worker: share.waited for share in self._dispatcher.shares()} if self._dispatcher else {}
        for name, share in sorted(self._shares.items()):
            rest = f", waited {waited[name]:.0%} of the time" if name in waited else ""
            self._reporter.say(f"worker {name}: {counted(share.runs, 'run')} in {share.seconds:.1f} s{rest}")

    def _share(self, worker: str) -> _Share:
        return self._shares.setdefault(label(worker), _Share())


def _is_final(error: Exception) -> bool:
    """Returns whether an error of a task ends the grid: what featurebank raises will not be better elsewhere."""
    return isinstance(error, errors.FeatureBankError)
