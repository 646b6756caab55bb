"""Fine-tunes several runs: one after another in this process, or at the same time on a cluster.

Checkpoints are in the bank, on the shared disk: a fine-tune whose worker has died continues from its checkpoint on
another one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featurebank.backbone.naming import named_functions
from featurebank.bank import Bank
from featurebank.cluster.address import check_address
from featurebank.cluster.checks import probe_file
from featurebank.cluster.client import connect
from featurebank.cluster.dispatch import Dispatcher, Outcome
from featurebank.cluster.events import EventReader
from featurebank.cluster.training.finetune_tasks import FinetuneResult, FinetuneTask, finetune_runs
from featurebank.cluster.training.head_checks import HeadAdmission
from featurebank.errors import ClusterError, FeatureBankError, HeadError
from featurebank.finetuning import FinetuneOptions, run_finetune
from featurebank.runs.run import RunRecord, read_run
from featurebank.runs.several import Banks, bank_of
from featurebank.storage.caches import portable_path
from featurebank.system.backing.directories import entries
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import ram_option
from featurebank.words import counted

_VISIBLE_WITHIN_S = 60.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class _Start:
    """One run to start from, as a unit of work."""

    run: RunRecord

    @property
    def size(self) -> int:
        """Fine-tunes count alike."""
        return 1

    def halves(self) -> list[_Start]:
        """Returns the fine-tune, which cannot be halved."""
        return [self]


def run_finetunes(
    starts: Sequence[RunRecord], options: FinetuneOptions, *, banks: Banks = (), tensorboard: Path | None = None,
    cluster: str | None = None, reporter: Reporter = SILENT,
) -> list[RunRecord]:  # fmt: skip
    """Does the work of `finetune_all`, with an options object.

    Args:
        starts: the runs to start from.
        options: how they are fine-tuned.
        banks: the banks of the runs, if the caller has them open.
        tensorboard: a log directory of TensorBoard.
        cluster: where to train; None for this process.
        reporter: receives the progress and the warnings.

    Raises:
        ClusterError: the cluster cannot be reached or used.
        FeatureBankError: there is one start, and its fine-tune failed.
        HeadError: some of several fine-tunes failed; the others are finished.
    """
    if cluster:
        check_address(cluster)
        return _on_cluster(cluster, starts, options, banks, tensorboard=tensorboard, reporter=reporter)
    own = [bank_of(start, banks) for start in starts]
    if len(starts) == 1:
        return [run_finetune(starts[0], options, bank=own[0], tensorboard=tensorboard, reporter=reporter)]
    runs, failures = [], {}
    for number, (start, bank) in enumerate(zip(starts, own, strict=True), 1):
        reporter.say(f"fine-tune {number} of {len(starts)}, from run {start.run}")
        try:
            runs.append(run_finetune(start, options, bank=bank, tensorboard=tensorboard, reporter=reporter))
        except FeatureBankError as error:
            failures[start.run] = str(error)
            reporter.warn(f"the fine-tune from run {start.run} failed: {error}")
    _refuse_failures(failures, len(starts))
    return runs


def _on_cluster(
    address: str, starts: Sequence[RunRecord], options: FinetuneOptions, banks: Banks, *, tensorboard: Path | None,
    reporter: Reporter,
) -> list[RunRecord]:  # fmt: skip
    """Fine-tunes on a cluster, the starts of one bank after those of another; returns the runs in the order of starts.

    Raises:
        HeadError: some failed; the others are finished.
    """
    groups: dict[Path, list[RunRecord]] = {}
    for start in starts:
        groups.setdefault(start.directory, []).append(start)
    runs: dict[str, RunRecord] = {}
    failures: dict[str, str] = {}
    for own in groups.values():
        work = _OnCluster(own, options, bank_of(own[0], banks), tensorboard, reporter)
        work.run(address)
        runs |= work.runs
        failures |= work.failures
    _refuse_failures(failures, len(starts))
    return [runs[start.run] for start in starts]


class _OnCluster:
    """Fine-tunes of runs of one bank on the workers of a cluster."""

    def __init__(
        self, starts: Sequence[RunRecord], options: FinetuneOptions, bank: Bank, tensorboard: Path | None,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._starts, self._bank, self._reporter = starts, bank, reporter
        self._events = EventReader(reporter)
        self._task = FinetuneTask(
            self._events.topic, portable_path(bank.path), bank.digest, replace(options), named_functions(),
            None if tensorboard is None else str(tensorboard.absolute()), None,
        )  # fmt: skip
        self.runs: dict[str, RunRecord] = {}
        """The fine-tuned runs by the ids of their starts."""
        self.failures: dict[str, str] = {}
        """The reasons of failures by the ids of the starts."""

    def run(self, address: str) -> None:
        """Fine-tunes all runs, or reports why one failed."""
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(connect(address, reporter=self._reporter))
            if not cluster.local:
                self._task = replace(self._task, ram=ram_option())
            admission = HeadAdmission(cluster, stack.enter_context(probe_file(self._bank.path.parent)), [])
            self._events.listen(cluster)
            dispatcher = Dispatcher[_Start](
                cluster, finetune_runs, self._arguments, admission, reporter=self._reporter, repeatable=False,
                on_look=self._look,
            )  # fmt: skip
            dispatcher.begin()
            with self._reporter.track("fine-tunes", len(self._starts), "runs") as advance:
                for outcome in dispatcher.run([_Start(start) for start in self._starts]):
                    self._finish(outcome)
                    advance(len(outcome.units))
            self._look()

    def _arguments(self, starts: tuple[_Start, ...]) -> tuple[Any, ...]:
        return self._task, [start.run.run for start in starts]

    def _look(self) -> None:
        for _ in self._events.news():
            pass

    def _finish(self, outcome: Outcome[_Start]) -> None:
        results = outcome.value or [FinetuneResult("", failure=outcome.reason) for _ in outcome.units]
        for start, result in zip(outcome.units, results, strict=True):
            if result.failure:
                self.failures[start.run.run] = result.failure
                self._reporter.warn(f"the fine-tune from run {start.run.run} failed: {result.failure}")
            else:
                self.runs[start.run.run] = self._read(result.run)
                self._reporter.say(f"{start.run.run}: fine-tuned as run {result.run} by {result.worker}")

    def _read(self, name: str) -> RunRecord:
        """Reads a run that a worker has recorded; a network disk may show its file late."""
        directory, began = self._bank.path / "runs", time.monotonic()
        while (run := read_run(directory / f"{name}.json")) is None:
            if time.monotonic() - began > _VISIBLE_WITHIN_S:
                message = f"a worker has recorded run {name}, but this machine does not see its file in '{directory}'"
                raise ClusterError(message)
            time.sleep(_LOOK_S)
            entries(directory)  # a network disk then looks for new files
        return run


def _refuse_failures(failures: dict[str, str], count: int) -> None:
    """Raises HeadError if fine-tunes failed; the others are finished."""
    if failures:
        first, reason = next(iter(failures.items()))
        message = f"{len(failures)} of {counted(count, 'fine-tune')} failed; the first, from run {first}: {reason}"
        raise HeadError(message)
