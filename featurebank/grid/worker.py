"""Trains planned jobs piece by piece within the time budget; claims each piece, and records each run at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from featurebank.bank import Bank
from featurebank.bank.locks.claims import Claims
from featurebank.errors import FeatureBankError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import Fitted, fit_heads
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.grid.jobs import Job
from featurebank.grid.journal import Journal
from featurebank.grid.time_budget import Clock, Speed, make_pieces
from featurebank.heads.memory import is_shortage
from featurebank.system.progress import Advance, Reporter, enumerate_some
from featurebank.training.loop import between_epochs
from featurebank.words import counted

LOOK_AGAIN_S = 0.5
"""Interval at which to check whether another process has finished its claimed runs."""


class _OutOfTimeError(Exception):
    """The budget ended during a piece."""


class JobRunner:
    """Trains jobs on a bank.

    Args:
        bank: the bank with the features.
        journal: the known runs; new runs are recorded in it.
        claims: the locks on runs that some process trains now.
        clock: the time budget.
        reporter: shows the progress.
    """

    def __init__(self, bank: Bank, journal: Journal, claims: Claims, clock: Clock, reporter: Reporter) -> None:
        self._bank, self._journal, self._claims = bank, journal, claims
        self._clock, self._reporter = clock, reporter
        self._speed = Speed()
        self._images: tuple[str, int, FoldedImages] | None = None
        self._data: tuple[str, int, Fold | None, TrainingData] | None = None
        self._warned_of_unseen = False
        self._epochs = 0

    def train(self, jobs: Sequence[Job], *, what: str = "heads", keep: bool = False) -> None:
        """Trains the jobs without a record; if the budget ends earlier, some stay without one.

        Args:
            jobs: the planned jobs.
            what: the name of the work in the progress.
            keep: whether to save the weights of each run.
        """
        todo = self._journal.missing(jobs)
        if not todo:
            return
        with self._reporter.track(what, len(todo), "runs") as advance:
            elsewhere = self._round(todo, advance, keep=keep)
            if elsewhere and self._clock.left > 0:
                self._reporter.say(f"waiting: another process trains {counted(len(elsewhere), 'run')}")
            while elsewhere and self._clock.left > 0:
                time.sleep(min(LOOK_AGAIN_S, max(0.0, self._clock.left)))
                still = self._journal.missing(elsewhere)
                advance(len(elsewhere) - len(still))
                elsewhere = self._round(still, advance, keep=keep)

    def train_again(self) -> None:
        """Trains the run that ranks first again, if its weights are missing."""
        first = self._journal.first_without_weights()
        if first is None or not self._claims.take(first.run):  # the process that has claimed it saves its weights
            return
        try:
            if self._journal.first_without_weights() == first:
                results: list[Fitted] = []
                data = self._images_of(first.tap, first.views or 0, None)
                fit_heads([(first.spec, first.seed)], data, lambda _, fitted: results.append(fitted))
                if not results[0].failure:
                    self._journal.keep(first, results[0])
        finally:
            self._claims.release([first.run])

    def _round(self, jobs: Sequence[Job], advance: Advance, *, keep: bool) -> list[Job]:
        """Trains the jobs that no other process has claimed; returns the others."""
        elsewhere: list[Job] = []
        groups: dict[tuple[str, Fold | None], list[Job]] = {}
        for job in sorted(jobs, key=lambda job: self._bank.tap_bytes(job.spec.tap)):
            groups.setdefault((job.spec.tap, job.fold), []).append(job)
        for (tap, fold), group in groups.items():
            if self._clock.left <= 0 or not (free := self._free(group, elsewhere)):
                continue
            data = self._images_of(tap, max(job.spec.views or 0 for job in free), fold)
            pieces = make_pieces(free, data)
            while pieces:
                piece = pieces.pop(self._speed.next(pieces, data))
                mine = self._speed.fitting(piece, data, self._clock.left)
                if mine and (rest := piece[len(mine) :]):
                    pieces.append(rest)
                claimed = [job for job in mine if self._claims.take(job.run)]
                elsewhere += [job for job in mine if job not in claimed]
                try:
                    unfinished = self._journal.missing(claimed)  # another process may just have finished it
                    advance(len(claimed) - len(unfinished))
                    self._fit(unfinished, data, advance, keep=keep)
                finally:
                    self._claims.release([job.run for job in claimed])
        return elsewhere

    def _free(self, jobs: Sequence[Job], elsewhere: list[Job]) -> list[Job]:
        """Returns the jobs if any can be claimed now, so that no features are read needlessly."""
        free = [job for job in jobs if self._claims.take(job.run)]
        self._claims.release([job.run for job in free])
        if not free:
            elsewhere += jobs
            return []
        return list(jobs)

    def _fit(self, jobs: Sequence[Job], data: TrainingData, advance: Advance, *, keep: bool) -> None:
        if not jobs:
            return
        results: dict[int, Fitted] = {}
        recording = False

        def take(position: int, fitted: Fitted) -> None:
            nonlocal recording
            recording = True
            self._journal.record(jobs[position], fitted, keep=keep)
            recording = False
            results[position] = fitted
            advance(1)
            self._look_at_clock()

        began, self._epochs = time.perf_counter(), 0
        try:
            with between_epochs(self._epoch_ended):
                fit_heads([(job.trained, job.seed) for job in jobs], data, take)
        except _OutOfTimeError:
            pass
        except Exception as error:
            rest = [job for position, job in enumerate(jobs) if position not in results]
            if recording or not rest:
                raise
            self._one_by_one(rest, data, advance, error, keep=keep)
        self._speed.learn(jobs, data, results, time.perf_counter() - began)
        self._journal.show()

    def _epoch_ended(self) -> None:
        self._epochs += 1
        self._reporter.detail(f"epoch {self._epochs}")
        self._look_at_clock()

    def _look_at_clock(self) -> None:
        if self._clock.left <= 0:
            raise _OutOfTimeError

    def _one_by_one(
        self, jobs: Sequence[Job], data: TrainingData, advance: Advance, error: Exception, *, keep: bool
    ) -> None:
        """Trains the heads of a failed piece one by one (memory may have run out), and records single failures."""
        if len(jobs) > 1:
            for job in jobs:
                if self._clock.left > 0:
                    self._fit([job], data, advance, keep=keep)
            return
        text = " ".join(str(error).split()) or type(error).__name__
        reason = text if isinstance(error, FeatureBankError) else f"{type(error).__name__}: {text}"
        self._journal.record(jobs[0], Fitted(None, 0.0, 1, {}, (), reason, is_shortage(error)))
        advance(1)

    def _images_of(self, tap: str, views: int, fold: Fold | None) -> TrainingData:
        """Returns the images of a tap and fold; the latest ones are cached.

        Heads without epochs use only the clean images, so that heads with different numbers of views share the data.
        """
        if self._data is None or self._data[:3] != (tap, views, fold):
            self._data = None
            if fold is None:
                self._images = None
                data = TrainingData.of(self._bank, tap, views)
            else:
                if self._images is None or self._images[:2] != (tap, views):
                    self._images = None  # freed before the next tap is read: both may not fit into memory
                    self._images = tap, views, FoldedImages(self._bank, tap, views)
                data = self._images[2].data(fold)
            self._data = tap, views, fold, data
            self._warn_of_unseen(data)
        return self._data[3]

    def _warn_of_unseen(self, data: TrainingData) -> None:
        if not self._warned_of_unseen and (unseen := data.unseen(self._bank.classes)):
            self._reporter.warn(
                f"no training image of class {enumerate_some(unseen)}: every head misclassifies its images"
            )
            self._warned_of_unseen = True
