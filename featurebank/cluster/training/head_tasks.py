"""Runs on workers: trains slices of a grid, as `featurebank heads` does in a process of its own.

A worker claims the runs that it trains, and records each one on the shared disk as soon as it is trained. What it sends
to the client are the ids of recorded runs and lines for the user, as events of Dask.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from featurebank.bank.locks.claims import Claims
from featurebank.cluster.events import NEWS, WorkerEvents, worker_name
from featurebank.cluster.packages import import_distributed
from featurebank.cluster.tasks import limit_to_worker
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.loaded import open_shared_bank
from featurebank.grid.jobs import Job
from featurebank.grid.journal import Journal
from featurebank.grid.time_budget import Clock
from featurebank.grid.worker import JobRunner
from featurebank.metrics import ACCURACY, metric_of
from featurebank.runs.run import RunRecord
from featurebank.system.parallel import SharedValue


@dataclass(frozen=True)
class GridTask:
    """What a worker needs to know about a grid beside the jobs."""

    topic: str
    """The topic of its events, which is another one for each call of the client."""
    place: str
    """The address of the bank for other machines; see `storage.caches.portable_path`."""
    bank: str
    """The digest of the bank."""
    folds: int
    """The protocol that ranks the runs; see `Journal`."""
    ram: int | None
    """The limit of memory of a worker in bytes; None for its own."""
    retry_failed: bool = False
    metric: str = ACCURACY.name
    """The metric that ranks the runs; see `GridOptions.metric`."""
    keep: bool = False
    """Whether to save the weights of each run."""
    again: bool = False
    """Whether to train the run that ranks first once more instead, if its weights were not saved."""


@dataclass(frozen=True)
class SliceResult:
    """What a worker has done with some slices."""

    worker: str
    seconds: float
    recorded: tuple[str, ...]
    """The ids of the runs whose records it has written."""
    known: tuple[str, ...]
    """The ids of the runs of which it has found records that other processes have written."""
    elsewhere: tuple[str, ...]
    """The ids of the runs that another process trains now."""
    short: tuple[RunRecord, ...]
    """Runs that failed for want of memory, which have no record."""


def train_slices(grid: GridTask, slices: Sequence[Sequence[Job]], seconds: float) -> SliceResult:
    """Trains the jobs of slices, one slice after another.

    Args:
        grid: the grid.
        slices: the jobs of each slice.
        seconds: what is left of the time budget.

    Raises:
        BankError: this worker does not see the bank, or the bank has changed.
        DiskFullError: a record cannot be written.
    """
    clock = _TaskClock(seconds)
    limit_to_worker(grid.ram)
    began = time.perf_counter()
    with _sessions.using(grid.topic, lambda: _Session.begin(grid)) as session:
        session.clock.task = clock
        elsewhere = session.train(grid, slices)
        recorded, short = session.journal.new_runs()
        left = {*recorded, *elsewhere, *(run.run for run in short)}
        others = [job for jobs in slices for job in jobs if job.run not in left]
        missing = {job.run for job in session.journal.missing(others)}
    known = tuple(job.run for job in others if job.run not in missing)
    return SliceResult(worker_name(), time.perf_counter() - began, recorded, known, elsewhere, short)


class _TaskClock(Clock):
    """The rest of a time budget on a worker; it is over, too, when the client has gone or cancelled the task."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._worker = import_distributed().get_worker()
        self._key = self._worker.get_current_task()

    @property
    def left(self) -> float:
        """The seconds that are left; negative if nobody waits for the task."""
        task = self._worker.state.tasks.get(self._key)
        if task is None or task.state not in {"executing", "long-running"}:
            return -1.0
        assert self.budget is not None
        return self.budget - (time.monotonic() - self.began)


@dataclass
class _SessionClock(Clock):
    """The clock of the task that a session trains now."""

    task: _TaskClock | None = None

    @property
    def left(self) -> float:
        """The seconds that are left for the task."""
        return self.task.left if self.task else 0.0


class _SendingJournal(Journal):
    """A journal that sends the id of each recorded run to the client."""

    def __init__(self, grid: GridTask, bank: Any, events: WorkerEvents) -> None:
        super().__init__(bank, events, grid.folds, metric=metric_of(grid.metric, bank.classes))
        self._events = events
        self._recorded: list[str] = []
        self._short: list[RunRecord] = []

    def record(self, job: Job, fitted: Fitted, *, keep: bool = False) -> None:
        """Records a run, and sends its id."""
        super().record(job, fitted, keep=keep)
        if fitted.short:
            self._short.append(self.runs[job.run])
        else:
            self._recorded.append(job.run)
            self._events.send(NEWS, job.run)

    def new_runs(self) -> tuple[tuple[str, ...], tuple[RunRecord, ...]]:
        """Returns the ids of runs recorded since the last call, and the runs for which memory was short."""
        result = tuple(self._recorded), tuple(self._short)
        self._recorded, self._short = [], []
        return result


@dataclass
class _Session:
    """What a worker keeps between the slices of one grid: known runs, measured speeds, features, claims."""

    journal: _SendingJournal
    runner: JobRunner
    clock: _SessionClock
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @classmethod
    def begin(cls, grid: GridTask) -> _Session:
        bank, events, clock = open_shared_bank(grid.place, grid.bank), WorkerEvents(grid.topic), _SessionClock()
        journal, stack = _SendingJournal(grid, bank, events), contextlib.ExitStack()
        claims = stack.enter_context(Claims(bank.path / "runs", events.warn))
        return cls(journal, JobRunner(bank, journal, claims, clock, events), clock, stack)

    def train(self, grid: GridTask, slices: Sequence[Sequence[Job]]) -> tuple[str, ...]:
        """Trains slices; returns the ids of the runs that other processes train."""
        if grid.again:
            self.runner.train_again()
            return ()
        elsewhere: list[Job] = []
        for jobs in slices:
            if grid.retry_failed:
                self.journal.forget(job.run for job in jobs)
            elsewhere += self.runner.train_free(self.journal.missing(jobs), keep=grid.keep)
        return tuple(job.run for job in elsewhere)


_sessions: SharedValue[_Session] = SharedValue(lambda session: session.stack.close())
