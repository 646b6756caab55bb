"""What is known of a bank's runs: each is recorded as soon as it is trained, and the weights of the first are kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace

from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.fitting.fit import Fitted
from featurebank.grid.jobs import Job
from featurebank.heads.storage.saving import SUFFIX, save_head
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.ranking import Ranking
from featurebank.runs.run import Run, belongs, load_runs, read_run, run_id, with_views
from featurebank.system import digest
from featurebank.system.progress import Reporter

_NOT_KEPT = "its weights are not kept"


class Journal:
    """The runs of a bank, as this process knows them.

    Args:
        bank: the bank.
        reporter: is shown which are best so far, and warned where weights cannot be kept.
        folds: the protocol that ranks them; 1 is the bank's own split.
        metric: what they are ranked by.
    """

    def __init__(self, bank: Bank, reporter: Reporter, folds: int = 1, *, metric: Metric = ACCURACY) -> None:
        self._bank, self._reporter = bank, reporter
        self._directory = bank.path / "runs"
        self.runs: dict[str, Run] = {}
        """By their ids."""
        self._ranking = Ranking(folds=folds, metric=metric)
        self._others: set[str] = set()
        self._given_up: dict[str, Run] = {}
        for run in load_runs(bank, overtaken=True):
            self._learn(run)

    def forget(self, runs: Iterable[str]) -> None:
        """Lets those of the runs that failed be trained anew."""
        for name in runs:
            if name in self.runs and self.runs[name].failure:
                self._given_up[name] = self.runs.pop(name)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Returns the jobs of which there is no record, on disk either."""
        return [job for job in jobs if not self._look(job.run)]

    def record(self, job: Job, fitted: Fitted, *, keep: bool = False) -> None:
        """Writes a run's record, and its weights if it ranks first now (or with `keep`).

        Weights are written before the record: who finds a record with weights finds the weights too. A head that failed
        for want of memory gets no record, so that the next call tries it again.
        """
        run = self._run(job, fitted)
        self._learn(run)
        if fitted.short:
            return
        if not (run.failure or run.fold or run.rung) and (keep or self._is_first(run)):
            self.keep(run, fitted)
        else:
            run.save()

    def rename(self, jobs: Iterable[Job]) -> None:
        """Gives runs that were trained before the names that a grid gives their heads now."""
        for job in jobs:
            run = self.runs.get(job.run)
            if run is not None and job.spec.name and run.name != job.spec.name:
                run = replace(run, name=job.spec.name)
                with contextlib.suppress(PermissionError):  # a cache that cannot be written: shown this time only
                    run.save()
                self._learn(run)
                self.runs[job.run] = run

    def show(self) -> None:
        """Shows which heads are best so far."""
        self._reporter.standing(self._ranking.rows())

    def first_without_weights(self) -> Run | None:
        """Returns the run that ranks first, if another one's weights are kept.

        That is so where a further seed of the one that was first has lowered its mean, or where two processes have
        trained at once.
        """
        self._refresh()
        first = self._ranking.first and self.runs[self._ranking.first.run]
        if (
            first is None
            or first.fold
            or first.views is None  # nobody knows what it was trained on
            or first.saved_path.is_file()
            or any(note.startswith(_NOT_KEPT) for note in first.notes)
        ):
            return None
        return first

    def keep(self, run: Run, fitted: Fitted) -> None:
        """Records a run with its weights, and lets go of those of others that are not needed."""
        try:
            save_head(fitted.head, run.saved_path)
            run = replace(run, weights=digest.of_file(run.saved_path))
        except HeadError as error:
            note = f"{_NOT_KEPT}: {error}"
            self._reporter.warn(note)
            run = replace(run, notes=(*run.notes, note))
        run.save()
        self.runs[run.run] = run
        for path in self._directory.glob(f"*{SUFFIX}"):
            other = self.runs.get(path.stem)
            ours = path.with_suffix(".json").is_file()  # where a stranger's bank has a link to a folder, nothing is
            if ours and path != run.saved_path and not (other and other.tested):
                path.unlink(missing_ok=True)

    def _is_first(self, run: Run) -> bool:
        if self._ranking.first != run:
            return False
        self._refresh()  # perhaps another process has a better one by now
        return self._ranking.first == run

    def _learn(self, run: Run) -> None:
        self.runs[run.run] = run
        if run.is_finetune:  # it may rank first, but no grid can train it again
            return
        if run.bank != self._bank.digest and run.tap in self._bank.taps:  # of an earlier version, under another id
            self.runs[run_id(run.spec, run.seed, self._bank, fold=run.fold, rung=run.rung)] = run
        self._ranking.add(run)

    def _look(self, name: str) -> bool:
        if name in self.runs:
            return True
        run = read_run(self._directory / f"{name}.json")
        if run is None or not belongs(run, self._bank) or run == self._given_up.get(name):
            return False
        self._learn(with_views(run, self._bank))
        return True

    def _refresh(self) -> None:
        """Reads the records that other processes have written meanwhile."""
        for path in self._directory.glob("*.json"):
            if path.stem not in self.runs and path.stem not in self._others and not self._look(path.stem):
                self._others.add(path.stem)

    def _run(self, job: Job, fitted: Fitted) -> Run:
        return Run(
            run=job.run, head=job.spec.kind, params=dict(job.spec.params), tap=job.spec.tap, seed=job.seed,
            seconds=round(fitted.seconds, 6), metrics=fitted.metrics, bank=self._bank.digest,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), together=fitted.together,
            parameters=fitted.parameters, right=fitted.right,
            history=fitted.history, failure=fitted.failure, notes=fitted.notes, fold=job.fold,
            rung=job.rung.told if job.rung else None, views=job.spec.views, name=job.spec.name,
            directory=self._bank.path, revision=job.spec.revision,
        )  # fmt: skip
