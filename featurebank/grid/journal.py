"""Records the runs of a bank as soon as they are trained, and saves the weights of the best one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace
from math import isnan

from featurebank.bank import Bank
from featurebank.errors import HeadError, HeadWarning
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.joined.rows import joined_identity
from featurebank.grid.jobs import Job
from featurebank.heads.storage.saving import SUFFIX, save_head
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.predictions.scoring import recorded, with_value
from featurebank.runs.predictions.stored import save_predictions
from featurebank.runs.ranking import Ranking
from featurebank.runs.run import RunRecord, belongs, load_runs, read_run, run_id, with_views
from featurebank.system import digest
from featurebank.system.backing.directories import find, is_file, refresh, remove
from featurebank.system.progress import Reporter

_NOT_KEPT = "its weights are not kept"


class Journal:
    """The runs of a bank, as this process knows them.

    Args:
        bank: the bank.
        reporter: shows the best heads so far, and receives a warning if weights cannot be saved.
        folds: the protocol that ranks them; 1 for the bank's own split.
        metric: what they are ranked by.
    """

    def __init__(self, bank: Bank, reporter: Reporter, folds: int = 1, *, metric: Metric = ACCURACY) -> None:
        self._bank, self._reporter, self._metric = bank, reporter, metric
        self._directory = bank.path / "runs"
        self.runs: dict[str, RunRecord] = {}
        """The runs by their ids."""
        self._ranking = Ranking(folds=folds, metric=metric)
        self._others: set[str] = set()
        self._failures: dict[str, RunRecord] = {}
        for run in load_runs(bank, overtaken=True):
            self.learn(run)

    def forget(self, runs: Iterable[str]) -> None:
        """Removes failed runs, so that they are trained again."""
        for name in runs:
            if name in self.runs and self.runs[name].failure:
                self._failures[name] = self.runs.pop(name)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Returns the jobs without a record, in memory or on disk."""
        refresh(self._directory)
        return [job for job in jobs if not self._look(job.run)]

    def record(self, job: Job, fitted: Fitted, *, keep: bool = False) -> None:
        """Writes a run's record, and its weights if it now ranks first (or with `keep`).

        Weights and predictions are written before the record: so a record with weights always has its weights file. A
        head that ran out of memory gets no record, so that the next call tries it again.
        """
        run = self._run(job, fitted)
        if fitted.images is not None and isnan(self._metric.recorded(run.metrics["val"])):
            run = with_value(run, self._metric, fitted.images)
        self.learn(run)
        if fitted.short:
            return
        save_predictions(run, fitted.images)
        fitted.forget_images()
        if not (run.failure or run.fold or run.rung) and (keep or self._is_first(run)):
            self.keep(run, fitted)
        else:
            run.save()

    def rename(self, jobs: Iterable[Job]) -> None:
        """Updates the names of runs that were trained before to those in the grid."""
        for job in jobs:
            run = self.runs.get(job.run)
            if run is not None and job.spec.name and run.name != job.spec.name:
                run = replace(run, name=job.spec.name)
                with contextlib.suppress(PermissionError):  # a read-only cache: the name is shown only this time
                    run.save()
                self.learn(run)
                self.runs[job.run] = run

    def read_again(self, name: str) -> None:
        """Reads a run's record again, which another process has replaced."""
        run = read_run(self._directory / f"{name}.json", self._bank.classes)
        if run is not None and belongs(run, self._bank):
            self.learn(with_views(run, self._bank))

    def show(self) -> None:
        """Shows the best heads so far."""
        self._reporter.ranking(self._ranking.rows())

    def first_without_weights(self) -> RunRecord | None:
        """Returns the run that ranks first, if its weights are missing.

        This happens if another seed of the former best head has lowered its mean, or if two processes train at the same
        time.
        """
        self._refresh()
        first = self._ranking.first and self.runs[self._ranking.first.run]
        if (
            first is None
            or first.fold
            or first.views is None  # the number of views that it was trained on is unknown
            or is_file(first.saved_path)
            or any(note.startswith(_NOT_KEPT) for note in first.notes)
        ):
            return None
        return first

    def keep(self, run: RunRecord, fitted: Fitted) -> None:
        """Records a run with its weights, and deletes weights of other runs that are not needed."""
        try:
            save_head(fitted.head, run.saved_path)
            run = replace(run, weights=digest.of_file(run.saved_path))
        except HeadError as error:
            note = f"{_NOT_KEPT}: {error}"
            self._reporter.warn(note, HeadWarning)
            run = replace(run, notes=(*run.notes, note))
        run.save()
        self.runs[run.run] = run
        for path in find(self._directory, f"*{SUFFIX}"):
            other = self.runs.get(path.stem)
            ours = is_file(path.with_suffix(".json"))  # nothing in a folder that a stranger's bank links to is ours
            if ours and path != run.saved_path and not (other and other.tested):
                remove(path)

    def _is_first(self, run: RunRecord) -> bool:
        if self._ranking.first != run:
            return False
        self._refresh()  # another process may have a better one by now
        return self._ranking.first == run

    def learn(self, run: RunRecord) -> None:
        """Adds a run, or replaces it; nothing is written."""
        run = recorded(run, self._metric)
        self.runs[run.run] = run
        if run.is_finetune:  # it may rank first, but a grid cannot train it again
            return
        if run.bank != self._bank.digest and run.tap in self._bank.taps:  # of an earlier version, with another id
            self.runs[run_id(run.spec, run.seed, self._bank, fold=run.fold, rung=run.rung)] = run
        self._ranking.add(run)

    def _look(self, name: str) -> bool:
        if name in self.runs:
            return True
        run = read_run(self._directory / f"{name}.json", self._bank.classes)
        if run is None or not belongs(run, self._bank) or run == self._failures.get(name):
            return False
        self.learn(with_views(run, self._bank))
        return True

    def _refresh(self) -> None:
        """Reads the records that other processes have written in the meantime."""
        for path in find(self._directory, "*.json"):
            if path.stem not in self.runs and path.stem not in self._others and not self._look(path.stem):
                self._others.add(path.stem)

    def _run(self, job: Job, fitted: Fitted) -> RunRecord:
        return RunRecord(
            run=job.run, head=job.spec.kind, params=dict(job.spec.params), tap=job.spec.tap, seed=job.seed,
            seconds=round(fitted.seconds, 6), metrics=fitted.metrics, bank=self._bank.digest,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), together=fitted.together,
            parameters=fitted.parameters, right=fitted.right,
            history=fitted.history, failure=fitted.failure, notes=fitted.notes, fold=job.fold,
            rung=job.rung.as_tuple if job.rung else None, views=job.spec.views, name=job.spec.name,
            sample=job.spec.sample, joined=joined_identity(self._bank, job.spec.tap), directory=self._bank.path,
            revision=job.spec.revision(len(self._bank.classes)), class_names=tuple(self._bank.classes),
        )  # fmt: skip
