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
    starts: Sequence[RunRecord], options: FinetuneOptions, *, bank: Bank, tensorboard: Path | None = None,
    cluster: str | None = None, reporter: Reporter = SILENT,
) -> list[RunRecord]:  # fmt: skip
    """Does the work of `finetune_all`, with an options object.

    Raises:
        ClusterError: the cluster cannot be reached or used.
        FeatureBankError: there is one start, and its fine-tune failed.
        HeadError: some of several fine-tunes failed; the others are finished.
    """
    if cluster:
        check_address(cluster)
        return _OnCluster(starts, options, bank, tensorboard, reporter).run(cluster)
    if len(starts) == 1:
        return [run_finetune(starts[0], options, bank=bank, tensorboard=tensorboard, reporter=reporter)]
    runs, failures = [], {}
    for number, start in enumerate(starts, 1):
        reporter.say(f"fine-tune {number} of {len(starts)}, from run {start.run}")
        try:
            runs.append(run_finetune(start, options, bank=bank, tensorboard=tensorboard, reporter=reporter))
        except FeatureBankError as error:
            failures[start.run] = str(error)
            reporter.warn(f"the fine-tune from run {start.run} failed: {error}")
    _refuse_failures(failures, len(starts))
    return runs


class _OnCluster:
    """Fine-tunes on the workers of a cluster."""

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
        self._runs: dict[str, RunRecord] = {}
        self._failures: dict[str, str] = {}

    def run(self, address: str) -> list[RunRecord]:
        """Returns the fine-tuned runs, in the order of their starts."""
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
        _refuse_failures(self._failures, len(self._starts))
        return [self._runs[start.run] for start in self._starts]

    def _arguments(self, starts: tuple[_Start, ...]) -> tuple[Any, ...]:
        return self._task, [start.run.run for start in starts]

    def _look(self) -> None:
        for _ in self._events.news():
            pass

    def _finish(self, outcome: Outcome[_Start]) -> None:
        results = outcome.value or [FinetuneResult("", failure=outcome.reason) for _ in outcome.units]
        for start, result in zip(outcome.units, results, strict=True):
            if result.failure:
                self._failures[start.run.run] = result.failure
                self._reporter.warn(f"the fine-tune from run {start.run.run} failed: {result.failure}")
            else:
                self._runs[start.run.run] = self._read(result.run)
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
