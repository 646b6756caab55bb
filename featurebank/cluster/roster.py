"""The workers of a cluster as they come and go: each is checked before it gets work."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol

from featurebank.cluster.checks import WorkerReport, refuse_problems
from featurebank.cluster.client import Cluster, ClusterWorker
from featurebank.cluster.tasks import Call, Seat, U
from featurebank.errors import ClusterError
from featurebank.system.progress import Reporter

LOOK_S = 0.5
"""How often the scheduler is asked for its workers."""
BUSY_S = 60.0
"""Workers that answer after this time join the work later."""
_SAY_AFTER_S = 2.0


class Admission(Protocol):
    """Checks workers before they get work."""

    def ask(self, worker: ClusterWorker) -> Any:
        """Asks a worker to describe itself; returns a future."""

    def report(self, worker: ClusterWorker, future: Any) -> WorkerReport | None:
        """Returns the report of a worker whose future is done; None if the worker has died.

        Raises:
            TimeoutError: the worker does not send it.
        """


class Roster(Generic[U]):
    """The workers of a cluster, and what is known about each.

    Args:
        cluster: the cluster.
        admission: checks workers.
        reporter: receives warnings about workers.
        leave: called with each worker that is gone.
    """

    def __init__(
        self, cluster: Cluster, admission: Admission, reporter: Reporter, leave: Callable[[Seat[U]], None]
    ) -> None:
        self._cluster, self._admission, self._reporter, self._leave = cluster, admission, reporter, leave
        self.seats: list[Seat[U]] = []
        """All workers that have ever been there."""
        self.events: queue.SimpleQueue[Seat[U] | Call[U]] = queue.SimpleQueue()
        """Workers whose check has ended, and calls that have ended."""
        self._looked_at = 0.0

    def present(self) -> list[Seat[U]]:
        """Returns the workers that are there."""
        return [seat for seat in self.seats if not seat.left_at]

    def ready(self) -> list[Seat[U]]:
        """Returns the workers that can get work."""
        return [seat for seat in self.present() if seat.is_ready]

    def listen(self, future: Any, event: Seat[U] | Call[U]) -> None:
        """Puts an event into the queue when a future is done."""
        future.add_done_callback(lambda _: self.events.put(event))

    def first_reports(self) -> list[WorkerReport]:
        """Waits for workers and checks those that are there.

        Returns:
            The reports of the workers that can be used.

        Raises:
            ClusterError: a worker cannot be used, or the scheduler is gone.
        """
        reports: list[WorkerReport] = []
        while not reports:
            self._cluster.wait_for_workers(self._reporter, least=self._cluster.own_workers or 1)
            with self._reporter.step(f"checking the workers of {self._cluster.place}"):
                reports = self._check_present()
        refuse_problems(reports)
        return reports

    def _check_present(self) -> list[WorkerReport]:
        began = time.monotonic()
        while True:
            self.look()
            reports = [seat.report for seat in self.present() if seat.report]
            if len(reports) == len(self.present()) and len(reports) >= self._cluster.own_workers:
                return reports
            if reports and time.monotonic() - began > BUSY_S:
                return reports  # the others are busy with other work, and may join later
            with contextlib.suppress(queue.Empty):
                event = self.events.get(timeout=LOOK_S)
                assert isinstance(event, Seat), "nothing else was submitted"
                self._read_report(event)

    def look(self) -> None:
        """Asks the scheduler, now and then, which workers have come and gone."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        workers = {worker.address: worker for worker in self._cluster.workers()}
        self._looked_at = time.monotonic()
        present = {seat.worker.address: seat for seat in self.present()}
        for address, seat in present.items():
            if address not in workers:
                seat.left_at = time.monotonic()
                self._leave(seat)
        for address, worker in workers.items():
            if address not in present and not self._must_wait():
                seat = Seat(worker, self._admission.ask(worker))
                self.seats.append(seat)
                self.listen(seat.check, seat)

    def _must_wait(self) -> bool:
        """Returns whether local workers wait: the first one converts the network, and the others read that."""
        return bool(self._cluster.local and self.present()) and not any(seat.report for seat in self.seats)

    def wait_for_any(self) -> None:
        """Waits for workers if there are none, and says so.

        Raises:
            ClusterError: there are some, and none of them can be used.
        """
        began, silent = time.monotonic(), True
        with contextlib.ExitStack() as stack:
            while not any(not seat.problem for seat in self.present()):
                if self.present():
                    message = f"no worker of {self._cluster.place} can be used; the last: {self.present()[-1]}"
                    raise ClusterError(message)
                if silent and time.monotonic() - began > _SAY_AFTER_S:
                    silent = False
                    self._reporter.say(
                        f"the scheduler at {self._cluster.address} has no workers left: waiting for new ones"
                    )
                    stack.enter_context(self._reporter.step(f"waiting for workers of {self._cluster.address}"))
                time.sleep(LOOK_S)
                self.look()

    def admit(self, seat: Seat[U]) -> None:
        """Lets a worker begin that came later, or warns that it cannot be used."""
        self._read_report(seat)
        if seat.report and seat.report.problem:
            self.drop(seat, seat.report.problem)

    def drop(self, seat: Seat[U], problem: str) -> None:
        """Gives a worker no more work, and says why."""
        seat.problem = problem
        self._reporter.warn(f"worker {seat.worker} gets no more work: {problem}")

    def _read_report(self, seat: Seat[U]) -> None:
        try:
            seat.report, seat.ready_at = self._admission.report(seat.worker, seat.check), time.monotonic()
        except TimeoutError:  # nobody waits for a worker that is busy or hangs: the events of the others come first
            self.events.put(seat)
