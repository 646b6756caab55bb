"""What a dispatcher sends to workers: batches of units, and what it knows about each worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

from featurebank.cluster.checks import WorkerReport
from featurebank.cluster.client import ClusterWorker
from featurebank.cluster.packages import import_distributed
from featurebank.system.runtime import limit_ram, limit_threads

_computing = threading.Lock()
"""A worker computes one batch at a time, with all of its threads; the next one waits here, ready to start."""


class Unit(Protocol):
    """The smallest piece of work that is sent to a worker."""

    @property
    def size(self) -> int:
        """How much work it is, as a number of images."""

    def halves(self) -> Sequence[Self]:
        """Returns both halves of the unit; the unit alone if it cannot be halved."""


U = TypeVar("U", bound=Unit)


@dataclass(eq=False)
class UnitBatch(Generic[U]):
    """Units that one call on a worker computes, and what happened to earlier calls with them."""

    units: tuple[U, ...]
    deaths: int = 0
    """How many workers have died that had this batch; it runs alone from the first death on."""
    errors: int = 0
    """How many calls have raised an error."""
    failed_on: frozenset[str] = frozenset()
    """The addresses of the workers on which a call has raised an error."""
    calls: list[Call[U]] = field(default_factory=list)
    """The calls that are under way."""
    is_finished: bool = False

    @property
    def size(self) -> int:
        """The size of all units together."""
        return sum(unit.size for unit in self.units)

    def halves(self) -> list[tuple[U, ...]]:
        """Returns the units in two parts; a single unit is halved itself. There is one part if that is impossible."""
        middle = len(self.units) // 2
        if middle:
            return [self.units[:middle], self.units[middle:]]
        return [(half,) for half in self.units[0].halves()]


@dataclass(eq=False)
class Call(Generic[U]):
    """A batch under way on a worker."""

    batch: UnitBatch[U]
    seat: Seat[U]
    future: Any
    began: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class Seat(Generic[U]):
    """A worker, from its check until it leaves."""

    worker: ClusterWorker
    check: Any
    """The future of its check."""
    report: WorkerReport | None = None
    """None until the check is done."""
    problem: str = ""
    """Why it gets no more work; empty if it gets some."""
    calls: list[Call[U]] = field(default_factory=list)
    ready_at: float = 0.0
    left_at: float = 0.0
    """When it died; 0 as long as it lives."""
    busy: float = 0.0
    """Seconds of finished calls."""
    size: int = 0
    """Size of the batches of finished calls."""
    errors: int = 0
    """How many calls have raised an error since the last one that did not."""

    def __str__(self) -> str:
        return f"{self.worker}: {self.problem}"

    @property
    def is_ready(self) -> bool:
        """Whether it can get work."""
        return bool(self.report) and not self.problem

    @property
    def is_reserved(self) -> bool:
        """Whether it computes a batch that has to be alone."""
        return any(call.batch.deaths for call in self.calls)


@dataclass(frozen=True)
class WorkerShare:
    """What one worker did."""

    worker: str
    host: str
    images: int
    images_per_second: float
    """Images a second from its check to the end of the work."""
    waited: float
    """Fraction of that time in which it computed nothing."""
    engine: str | None
    """The engine that its check found; None if there was none."""


def worker_shares(seats: Sequence[Seat[Any]], ended: float) -> list[WorkerShare]:
    """Returns what each worker did; a process that replaced another one of the same name counts with it.

    Args:
        seats: the workers.
        ended: when the work ended (s, monotonic clock).
    """
    groups: dict[tuple[str, str], list[Seat[Any]]] = {}
    for seat in seats:
        if seat.report and not seat.report.problem:
            groups.setdefault((seat.report.host, seat.worker.label), []).append(seat)
    return [_share(host, label, group, ended) for (host, label), group in sorted(groups.items())]


def _share(host: str, label: str, seats: Sequence[Seat[Any]], ended: float) -> WorkerShare:
    seconds = sum((seat.left_at or ended) - seat.ready_at for seat in seats) or 1.0
    images, busy = sum(seat.size for seat in seats), sum(seat.busy for seat in seats)
    engines = [seat.report.engine for seat in seats if seat.report and seat.report.engine]
    waited = min(1.0, max(0.0, 1 - busy / seconds))
    return WorkerShare(label, host, images, images / seconds, waited, engines[0] if engines else None)


def limit_to_worker(ram: int | None = None) -> None:
    """Runs on a worker: limits this process to the threads that Dask gives it, and to `ram` bytes, if given."""
    limit_threads(int(import_distributed().get_worker().state.nthreads))
    if ram is not None:
        limit_ram(ram)


def compute(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Runs on a worker: calls a function while no other call computes; returns the result and the seconds it took."""
    with _computing:
        began = time.perf_counter()
        value = function(*args)
        return value, time.perf_counter() - began
