"""Distributes units of work among the workers of a cluster.

Each batch goes to one worker, so that a death is attributed to the batches that the worker had. A worker gets one batch
and, ready to start, the next one. A batch whose worker has died runs alone from then on, and is halved when it ends
another worker, until one unit that cannot be halved is left. Batches that were only waiting there are run alone, too,
but nothing happens to them then.
"""

from __future__ import annotations

import contextlib
import queue
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Generic

from featurebank.cluster.checks import WorkerReport
from featurebank.cluster.client import Cluster
from featurebank.cluster.roster import LOOK_S, Admission, Roster
from featurebank.cluster.tasks import Call, Seat, U, UnitBatch, WorkerShare, compute, worker_shares
from featurebank.errors import ClusterError, FeatureBankError
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, one_line

MOST_ERRORS = 3
"""A batch fails after so many errors, and a worker gets no more work after so many in a row."""
LONE_DEATHS = 3
"""A unit that cannot be halved is given up when it has ended so many workers while nothing else ran there."""
DEATHS_IN_A_ROW = 15
"""So many deaths without a result in between are not the fault of single units."""
DEATHS_EACH = 3
"""So many for each worker are allowed, if that is more: the end of a job ends all workers of a cluster at once."""
BATCH_S = 5.0
"""Batches have as many units as a worker computes in about this time."""
STRAGGLER = 3.0
"""At the end, a batch that takes so many times as long as expected is given to a second worker, too."""


@dataclass(frozen=True)
class Outcome(Generic[U]):
    """The result of a batch."""

    units: tuple[U, ...]
    value: Any = None
    """The result of the function."""
    reason: str = ""
    """Why there is no result, for people; then there is one unit. Empty if there is one."""


class Dispatcher(Generic[U]):
    """Runs a function on the workers of a cluster, for batches of units.

    Args:
        cluster: the cluster.
        function: called on a worker with the result of `arguments`; it can be imported there.
        arguments: returns the arguments for a batch; they can be pickled.
        admission: checks workers.
        reporter: receives warnings about workers.
        is_final: whether an error ends the work at once; others are tried again.
        repeatable: whether two workers may compute the same batch at the same time. If not, a worker gets a batch only
            when it is free, and a batch that takes long is not given to a second one.
        on_look: called twice a second at least while work is under way; what it raises ends the work.
    """

    def __init__(
        self, cluster: Cluster, function: Callable[..., Any], arguments: Callable[[tuple[U, ...]], tuple[Any, ...]],
        admission: Admission, *, reporter: Reporter = SILENT, is_final: Callable[[Exception], bool] = lambda _: False,
        repeatable: bool = True, on_look: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._cluster, self._function, self._arguments = cluster, function, arguments
        self._is_final, self._repeatable, self._on_look = is_final, repeatable, on_look
        self._roster: Roster[U] = Roster(cluster, admission, reporter, self._leave)
        self._fresh: deque[U] = deque()
        self._again: deque[UnitBatch[U]] = deque()
        self._useless_deaths = 0
        self._most = 0
        """The largest number of workers that computed at once."""
        self._paces: deque[float] = deque(maxlen=50)
        """Seconds for a unit of size 1, of the last batches."""

    def begin(self) -> list[WorkerReport]:
        """Waits for workers and checks those that are there.

        Returns:
            The reports of the workers that can be used.

        Raises:
            ClusterError: a worker cannot be used, or the scheduler is gone.
        """
        return self._roster.first_reports()

    def run(self, units: Sequence[U]) -> Iterator[Outcome[U]]:
        """Yields the outcome of each batch, as they finish; `begin` comes before.

        Args:
            units: the work.

        Raises:
            ClusterError: the scheduler is gone, workers die again and again, or calls fail.
            FeatureBankError: a call raised this error, several times or with `is_final`.
        """
        self._fresh.extend(units)
        self._paces.clear()
        try:
            while self._fresh or self._again or self._under_way():
                self._roster.look()
                self._on_look()
                yield from self._give_up()
                self._fill()
                self._most = max(self._most, sum(bool(seat.calls) for seat in self._roster.present()))
                self._roster.wait_for_any()
                with contextlib.suppress(queue.Empty):
                    yield from self._handle(self._roster.events.get(timeout=LOOK_S))
        finally:
            self._cancel()

    def shares(self) -> list[WorkerShare]:
        """Returns what each worker has done so far."""
        return worker_shares(self._roster.seats, time.monotonic())

    def _under_way(self) -> list[UnitBatch[U]]:
        batches = [call.batch for seat in self._roster.seats for call in seat.calls if not call.batch.is_finished]
        return list({id(batch): batch for batch in batches}.values())

    def _leave(self, seat: Seat[U]) -> None:
        """Takes back what a worker had that is gone."""
        calls, seat.calls = seat.calls, []
        for call in calls:
            call.batch.calls.remove(call)
            call.future.cancel()
        lost = [call.batch for call in calls if not call.batch.is_finished]
        if lost or seat.report is None:
            self._useless_deaths += 1
        if self._useless_deaths >= max(DEATHS_IN_A_ROW, DEATHS_EACH * self._most):
            message = (
                f"workers of {self._cluster.place} died {self._useless_deaths} times in a row, the last one was "
                f"{seat.worker}: look at their logs and their memory; finished work is saved, and the same command "
                "continues"
            )
            raise ClusterError(message)
        for batch in lost:
            if not batch.calls:
                self._count_death(batch)

    def _count_death(self, batch: UnitBatch[U]) -> None:
        batch.deaths += 1
        parts = batch.halves() if batch.deaths > 1 else [batch.units]
        if len(parts) > 1:
            self._again.extend(UnitBatch(part, deaths=1, errors=batch.errors) for part in parts)
        else:
            self._again.append(batch)

    def _fill(self) -> None:
        """Gives work to the workers that have none, then to those that have one batch."""
        ready = self._roster.ready()
        for depth in (0, 1) if self._repeatable else (0,):
            for seat in ready:
                if len(seat.calls) == depth and not seat.is_reserved and (batch := self._next(seat, depth, ready)):
                    self._submit(batch, seat)

    def _next(self, seat: Seat[U], depth: int, ready: Sequence[Seat[U]]) -> UnitBatch[U] | None:
        others = {one.worker.address for one in ready}
        for batch in self._again:
            elsewhere = seat.worker.address in batch.failed_on and not others <= batch.failed_on
            if not elsewhere and not (batch.deaths and depth):
                self._again.remove(batch)
                return batch
        if self._fresh and (not depth or len(self._fresh) >= len(ready)):
            count = self._count_of(len(ready))
            return UnitBatch(tuple(self._fresh.popleft() for _ in range(count)))
        return self._straggler(seat) if self._repeatable and not depth and not self._fresh else None

    def _count_of(self, ready: int) -> int:
        """Returns how many units the next batch gets: fewer towards the end, so that all workers finish together."""
        most = max(1, len(self._fresh) // (2 * ready))
        if not self._paces:
            return 1
        pace, count, size = statistics.median(self._paces), 0, 0
        for unit in self._fresh:
            size += unit.size
            if count == most or (count and size * pace > BATCH_S):
                break
            count += 1
        return count

    def _straggler(self, seat: Seat[U]) -> UnitBatch[U] | None:
        """Returns a batch for an idle worker that another one has begun, or has not begun: it may run twice."""
        pace = statistics.median(self._paces) if self._paces else float("inf")
        for batch in self._under_way():
            (call, *more) = batch.calls
            late = time.monotonic() - call.began > max(BATCH_S, STRAGGLER * pace * batch.size)
            waits = call.seat.calls[0] is not call
            if not more and not batch.deaths and call.seat is not seat and (late or waits):
                return batch
        return None

    def _submit(self, batch: UnitBatch[U], seat: Seat[U]) -> None:
        arguments = self._arguments(batch.units)
        future = self._cluster.submit(compute, self._function, *arguments, worker=seat.worker)
        call = Call(batch, seat, future)
        seat.calls.append(call)
        batch.calls.append(call)
        self._roster.listen(future, call)

    def _handle(self, event: Seat[U] | Call[U]) -> Iterator[Outcome[U]]:
        if isinstance(event, Seat):
            self._roster.admit(event)
        elif event in event.seat.calls:  # otherwise its worker has left, which was handled
            try:
                answer = self._answer(event)
            except TimeoutError:  # the worker, which holds the result, is leaving
                self._roster.events.put(event)
                return
            event.seat.calls.remove(event)
            event.batch.calls.remove(event)
            if not event.batch.is_finished:
                yield from self._end(event, answer)

    def _answer(self, call: Call[U]) -> tuple[Any, float] | Exception:
        """Returns the result of a call and the seconds that it took, or the error that it raised.

        Raises:
            TimeoutError: the worker does not send the result.
        """
        try:
            result: tuple[Any, float] = call.future.result(timeout=LOOK_S)
        except TimeoutError:
            if call.future.status == "error":  # the call has raised it
                return ClusterError("the call has timed out")
            raise
        except CancelledError as error:
            return ClusterError(str(error))
        except Exception as error:  # noqa: BLE001 - whatever the function raises
            return error
        return result

    def _end(self, call: Call[U], answer: tuple[Any, float] | Exception) -> Iterator[Outcome[U]]:
        """Handles the end of a call."""
        batch, seat = call.batch, call.seat
        if call.future.status == "cancelled":
            if self._cluster.is_lost:
                raise self._cluster.lost()
            if not batch.calls:  # the scheduler has forgotten it
                self._again.append(batch)
        elif isinstance(answer, Exception):
            if type(answer).__name__ == "KilledWorker":  # Dask has tried it again, on new workers of the same address
                self._count_death(batch)
            else:
                self._count_error(call, answer)
        else:
            value, seconds = answer
            batch.is_finished, self._useless_deaths, seat.errors = True, 0, 0
            seat.busy, seat.size = seat.busy + seconds, seat.size + batch.size
            self._paces.append(seconds / max(1, batch.size))
            for other in batch.calls:
                other.future.cancel()
            yield Outcome(batch.units, value)

    def _count_error(self, call: Call[U], error: Exception) -> None:
        batch, seat = call.batch, call.seat
        batch.errors, seat.errors = batch.errors + 1, seat.errors + 1
        batch.failed_on |= {seat.worker.address}
        if self._is_final(error) or batch.errors >= MOST_ERRORS:
            if isinstance(error, FeatureBankError):
                raise error
            message = f"worker {seat.worker} failed: {type(error).__name__}: {one_line(str(error), 300)}"
            raise ClusterError(message) from error
        if seat.errors >= MOST_ERRORS:
            self._roster.drop(seat, f"{type(error).__name__}: {one_line(str(error), 300)}")
        if not batch.calls:
            self._again.append(batch)

    def _give_up(self) -> Iterator[Outcome[U]]:
        """Yields the units that have ended too many workers."""
        for batch in [one for one in self._again if one.deaths > LONE_DEATHS]:
            self._again.remove(batch)
            yield Outcome(batch.units, reason=f"it ended the worker that computed it, {counted(LONE_DEATHS, 'time')}")

    def _cancel(self) -> None:
        for seat in self._roster.seats:
            for call in seat.calls:
                with contextlib.suppress(Exception):  # the scheduler may be gone
                    call.future.cancel()
            seat.calls.clear()
        self._fresh.clear()
        self._again.clear()
