"""Trains the planned jobs of a grid within its time budget, together with other processes that train the same grid.

The jobs on one tap and fold are divided into pieces (`time_budget`); the piece with the shortest time per head comes
first. Of a piece, as many jobs as fit into the rest of the budget are claimed, so that no other process trains them.
Those that another process has finished meanwhile are dropped, the others are trained, and each run is recorded at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from featurebank.bank import Bank
from featurebank.bank.locks.claims import Claims
from featurebank.errors import BankError, DatasetWarning, FeatureBankError
from featurebank.fitting.checks import untrained_line
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.folds import Fold
from featurebank.fitting.joined.rows import feature_rows
from featurebank.fitting.loaded import DataLoader
from featurebank.grid.jobs import Job
from featurebank.grid.journal import Journal
from featurebank.grid.time_budget import Clock, Speed, make_pieces
from featurebank.heads.memory import is_shortage
from featurebank.system.progress import Advance, Reporter, no_advance
from featurebank.training.loop import between_epochs
from featurebank.words import counted

LOOK_AGAIN_S = 0.5
"""The interval at which to check whether another process has finished the runs that it has claimed."""


class _OutOfTimeError(Exception):
    """The time budget ended while a piece was trained."""


class JobRunner:
    """Trains jobs on a bank.

    Args:
        bank: the bank with the features.
        journal: the known runs; new runs are recorded in it.
        claims: the locks on runs that a process is training now.
        clock: the time budget.
        reporter: shows the progress.
    """

    def __init__(self, bank: Bank, journal: Journal, claims: Claims, clock: Clock, reporter: Reporter) -> None:
        self._bank, self._journal, self._claims = bank, journal, claims
        self._clock, self._reporter = clock, reporter
        self._speed = Speed()
        self._loader = DataLoader(bank)
        self._warned_of_unseen = False
        self._announced: set[str] = set()
        self._epochs = 0

    def train(self, jobs: Sequence[Job], *, what: str = "heads", keep: bool = False) -> None:
        """Trains those of the jobs that have no record yet, until all have one or the budget ends.

        Args:
            jobs: the planned jobs.
            what: the label of the progress bar.
            keep: whether to save the weights of each run.
        """
        todo = self._journal.missing(jobs)
        if not todo:
            return
        with self._reporter.track(what, len(todo), "runs") as advance:
            elsewhere = self.train_free(todo, advance, keep=keep)
            if elsewhere and self._clock.left > 0:
                self._reporter.say(f"waiting: another process trains {counted(len(elsewhere), 'run')}")
            while elsewhere and self._clock.left > 0:
                time.sleep(min(LOOK_AGAIN_S, max(0.0, self._clock.left)))
                missing = self._journal.missing(elsewhere)
                advance(len(elsewhere) - len(missing))
                elsewhere = self.train_free(missing, advance, keep=keep)  # a process may have died

    def train_again(self) -> None:
        """Trains the run that ranks first once more if its weights were not saved, and saves them."""
        first = self._journal.first_without_weights()
        if first is None or not self._claims.claim(first.run):  # another process has claimed it, and saves its weights
            return
        try:
            if self._journal.first_without_weights() == first:
                results: list[Fitted] = []
                data = self._data_for(first.tap, first.views or 0, None, first.sample)
                fit_heads([(first.spec, first.seed)], data, lambda _, fitted: results.append(fitted))
                if not results[0].failure:
                    self._journal.keep(first, results[0])
        finally:
            self._claims.release([first.run])

    def train_free(self, jobs: Sequence[Job], advance: Advance = no_advance, *, keep: bool = False) -> list[Job]:
        """Trains the jobs that no other process has claimed, as far as the budget allows; returns the claimed ones."""
        elsewhere: list[Job] = []
        groups: dict[tuple[str, Fold | None, int | None], list[Job]] = {}
        for job in sorted(jobs, key=lambda job: feature_rows(self._bank, job.spec.tap).tap_bytes(job.spec.tap)):
            groups.setdefault((job.spec.tap, job.fold, job.spec.sample), []).append(job)
        for (tap, fold, sample), group in groups.items():
            if self._clock.left <= 0:
                continue
            if not self._any_free(group):
                elsewhere += group
                continue
            data = self._data_for(tap, max(job.spec.views or 0 for job in group), fold, sample)
            pieces = make_pieces(group, data)
            while pieces:
                piece = pieces.pop(self._speed.next(pieces, data))
                affordable = self._speed.fitting(piece, data, self._clock.left)
                if affordable and (rest := piece[len(affordable) :]):
                    pieces.append(rest)
                mine = set(self._claims.claim_all(job.run for job in affordable))
                claimed = [job for job in affordable if job.run in mine]
                elsewhere += [job for job in affordable if job not in claimed]
                try:
                    missing = self._journal.missing(claimed)  # another process may have finished some just before
                    advance(len(claimed) - len(missing))
                    self._fit(missing, data, advance, keep=keep)
                finally:
                    self._claims.release([job.run for job in claimed])
        return elsewhere

    def _any_free(self, jobs: Sequence[Job]) -> bool:
        """Returns whether at least one job can be claimed now; otherwise their features need not be read."""
        free = next((job.run for job in jobs if self._claims.claim(job.run)), None)
        if free is not None:
            self._claims.release([free])
        return free is not None

    def _fit(self, jobs: Sequence[Job], data: TrainingData, advance: Advance, *, keep: bool) -> None:
        """Trains claimed jobs of one piece, and records each run as soon as it is fitted."""
        if not jobs:
            return
        results: dict[int, Fitted] = {}
        recording = False  # an error of the record, such as a full disk, or of the bank, is not one of the heads

        def record(position: int, fitted: Fitted) -> None:
            nonlocal recording
            recording = True
            self._journal.record(jobs[position], fitted, keep=keep)
            recording = False
            results[position] = fitted
            advance(1)
            self._check_budget()

        began, self._epochs = time.perf_counter(), 0
        try:
            with between_epochs(self._epoch_ended, within=self._check_budget):
                fit_heads([(job.trained, job.seed) for job in jobs], data, record)
        except _OutOfTimeError:
            pass
        except BankError:  # no head is to blame, and each would get the error as its result
            raise
        except Exception as error:
            rest = [job for position, job in enumerate(jobs) if position not in results]
            if recording or not rest or isinstance(error, BankError):
                raise
            self._fit_one_by_one(rest, data, advance, error, keep=keep)
        self._speed.learn(jobs, data, results, time.perf_counter() - began)
        self._journal.show()

    def _epoch_ended(self) -> None:
        self._epochs += 1
        self._reporter.detail(f"epoch {self._epochs}")
        self._check_budget()

    def _check_budget(self) -> None:
        """Raises _OutOfTimeError if the time budget has ended."""
        if self._clock.left <= 0:
            raise _OutOfTimeError

    def _fit_one_by_one(
        self, jobs: Sequence[Job], data: TrainingData, advance: Advance, error: Exception, *, keep: bool
    ) -> None:
        """Trains the heads of a failed piece again, one by one: together they may have needed too much memory.

        If there is only one job, `error` is its own, and is recorded as its result.
        """
        if len(jobs) > 1:
            for job in jobs:
                if self._clock.left > 0:
                    self._fit([job], data, advance, keep=keep)
            return
        text = " ".join(str(error).split()) or type(error).__name__
        reason = text if isinstance(error, FeatureBankError) else f"{type(error).__name__}: {text}"
        self._journal.record(jobs[0], Fitted(None, 0.0, 1, {}, (), reason, is_shortage(error)))
        advance(1)

    def _data_for(self, tap: str, views: int, fold: Fold | None, sample: int | None) -> TrainingData:
        """Returns the features of a tap and fold; those of the last call are cached.

        Heads without epochs use only the clean images, and so can share the data with heads that use views.
        """
        data = self._loader.get(tap, views, fold, sample)
        self._announce_shortage(data)
        self._warn_of_unseen(data)
        return data

    def _announce_shortage(self, data: TrainingData) -> None:
        """Says once for each tap that its features stay in the bank."""
        if data.tap not in self._announced and (line := data.shortage):
            self._reporter.say(line)
            self._announced.add(data.tap)

    def _warn_of_unseen(self, data: TrainingData) -> None:
        if not self._warned_of_unseen and (line := untrained_line(data.y, self._bank.classes)):
            self._reporter.warn(line, DatasetWarning)
            self._warned_of_unseen = True
