"""Runs on workers: one fine-tune, which continues from its checkpoint if another worker has begun it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featurebank.backbone.naming import name_function
from featurebank.cluster.events import WorkerEvents, worker_name
from featurebank.cluster.tasks import limit_to_worker
from featurebank.finetuning import FinetuneOptions, run_finetune
from featurebank.fitting.fitted import one_line
from featurebank.fitting.loaded import open_shared_bank


@dataclass(frozen=True)
class FinetuneTask:
    """What a worker needs to know about fine-tunes of one call."""

    topic: str
    place: str
    """The address of the bank for other machines; see `storage.caches.portable_path`."""
    bank: str
    """The digest of the bank."""
    options: FinetuneOptions
    named: Sequence[str]
    """The functions that the user has named, one of which may make the network of the bank."""
    tensorboard: str | None
    ram: int | None
    """The limit of memory of a worker in bytes; None for its own."""


@dataclass(frozen=True)
class FinetuneResult:
    """The result of one fine-tune."""

    worker: str
    run: str = ""
    """The id of the run, whose record and model are in the bank."""
    failure: str = ""
    """Why there is no run; empty if there is one."""


def finetune_runs(task: FinetuneTask, starts: Sequence[str]) -> list[FinetuneResult]:
    """Fine-tunes from some runs, one after another; an error of one does not stop the others.

    Args:
        task: the fine-tunes.
        starts: the ids of the runs to start from.
    """
    for name in task.named:
        name_function(name)
    limit_to_worker(task.ram)
    return [_finetune(task, start) for start in starts]


def _finetune(task: FinetuneTask, start: str) -> FinetuneResult:
    tensorboard = None if task.tensorboard is None else Path(task.tensorboard)
    try:
        bank = open_shared_bank(task.place, task.bank)
        reporter = WorkerEvents(task.topic, about=start)
        run = run_finetune(start, task.options, bank=bank, tensorboard=tensorboard, reporter=reporter)
    except Exception as error:  # noqa: BLE001 - whatever a library raises, trying it again would take as long
        return FinetuneResult(worker_name(), failure=one_line(error))
    return FinetuneResult(worker_name(), run.run)
