"""Units of work on workers that die, fail, hang, come and go."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from listener import Listener
from sent import double, problem_in

from featurebank.cluster import dispatch as module
from featurebank.cluster.checks import WorkerReport, read_answer
from featurebank.cluster.client import Cluster, ClusterWorker, connect
from featurebank.cluster.dispatch import Dispatcher, Outcome
from featurebank.errors import ClusterError, DatasetError, DiskFullError
from featurebank.system.progress import Reporter

pytestmark = pytest.mark.heavy


@dataclass(frozen=True)
class Numbers:
    """A unit: some numbers."""

    numbers: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.numbers)

    def halves(self) -> Sequence[Numbers]:
        middle = len(self.numbers) // 2
        return [Numbers(self.numbers[:middle]), Numbers(self.numbers[middle:])] if middle else [self]


@dataclass
class Admit:
    """Lets every worker in, unless a problem is written into a file."""

    cluster: Cluster
    problem: Path

    def ask(self, worker: ClusterWorker) -> Any:
        return self.cluster.submit(problem_in, str(self.problem), worker=worker)

    def report(self, worker: ClusterWorker, future: Any) -> WorkerReport | None:
        answer = read_answer(self.cluster, worker, future, patience=0)
        return answer and WorkerReport(worker, answer["problem"], "here")


def arguments_for(log: Path) -> Any:
    return lambda units: (str(log), [number for unit in units for number in unit.numbers])


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """Two workers, some of which die: not the cluster that all tests share."""
    with connect("local:2") as connected:
        yield connected


def dispatcher(
    cluster: Cluster, directory: Path, reporter: Reporter | None = None, **options: Any
) -> Dispatcher[Numbers]:
    admission = Admit(cluster, directory / "problem")
    made: Dispatcher[Numbers] = Dispatcher(
        cluster, double, arguments_for(directory), admission, reporter=reporter or Listener(), **options
    )
    return made


def results(outcomes: Sequence[Outcome[Numbers]]) -> list[int]:
    return sorted(value for outcome in outcomes if not outcome.reason for value in outcome.value)


def units_of(numbers: Sequence[int], size: int) -> list[Numbers]:
    return [Numbers(tuple(numbers[start : start + size])) for start in range(0, len(numbers), size)]


def test_every_unit_is_computed(two: Cluster, tmp_path: Path) -> None:
    work = dispatcher(two, tmp_path)
    assert [report.host for report in work.begin()][:1] == ["here"]
    outcomes = list(work.run(units_of(range(100, 200), 7)))
    assert results(outcomes) == list(range(200, 400, 2))
    assert sum(share.images for share in work.shares()) == 100
    assert all(0 <= share.waited <= 1 for share in work.shares())


def test_the_unit_that_ends_its_workers_is_found_and_no_other_is_blamed(
    two: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONE_DEATHS", 2)
    work = dispatcher(two, tmp_path)
    work.begin()
    outcomes = list(work.run(units_of(range(8, 24), 4)))
    (bad,) = [outcome for outcome in outcomes if outcome.reason]
    assert bad.units == (Numbers((13,)),)
    assert bad.reason == "it ended the worker that computed it, 2 times"
    assert results(outcomes) == [2 * number for number in range(8, 24) if number != 13]


def connected_pids(cluster: Cluster) -> set[int]:
    """The processes of the workers: one that dies three times before it has connected counts as broken."""
    connected = {int(worker.name.rpartition("-")[2]) for worker in cluster.workers()}
    return connected & set(cluster.local.pids())


@pytest.mark.slow  # extractions with killed workers prove more
def test_workers_that_are_killed_at_random_cost_nothing_but_time(two: Cluster, tmp_path: Path) -> None:
    work = dispatcher(two, tmp_path)
    work.begin()
    outcomes, killed = [], set()
    for outcome in work.run(units_of(range(1000, 1064), 4)):
        outcomes.append(outcome)
        if len(killed) < 4 and (pids := connected_pids(two) - killed):
            killed.add(min(pids))
            os.kill(min(pids), signal.SIGKILL)
    assert len(killed) == 4
    assert results(outcomes) == list(range(2000, 2128, 2))


def test_an_error_is_tried_again(two: Cluster, tmp_path: Path) -> None:
    work = dispatcher(two, tmp_path)
    work.begin()
    assert results(list(work.run(units_of([1, 666, 3], 1)))) == [2, 6, 1332]


def test_an_error_that_stays_ends_the_work(two: Cluster, tmp_path: Path) -> None:
    work = dispatcher(two, tmp_path)
    work.begin()
    with pytest.raises(DiskFullError, match="no space left"):
        list(work.run(units_of([1, 667], 1)))


def test_a_final_error_is_not_tried_again(two: Cluster, tmp_path: Path) -> None:
    work = dispatcher(two, tmp_path, is_final=lambda error: isinstance(error, DatasetError))
    work.begin()
    with pytest.raises(DatasetError, match="final"):
        list(work.run(units_of([668], 1)))


def test_a_worker_that_comes_later_is_checked_and_refused(tmp_path: Path) -> None:
    listener = Listener()
    with connect("local:1") as cluster:
        work = dispatcher(cluster, tmp_path, listener)
        work.begin()
        running = work.run(units_of(range(20, 60), 1))
        next(running)
        (tmp_path / "problem").write_text("another version")
        (pid,) = cluster.local.pids()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(
            ClusterError, match=r"^no worker of this machine can be used; the last: local-0.*: another ver"
        ):
            list(running)
    assert listener.warned[-1].endswith("gets no more work: another version")


def test_a_worker_that_cannot_be_used_is_refused_at_the_beginning(two: Cluster, tmp_path: Path) -> None:
    (tmp_path / "problem").write_text("another version")
    two.wait_for_workers(least=2)
    work = dispatcher(two, tmp_path)
    with pytest.raises(ClusterError, match=r"^worker local-\d-\d+ \(tls.*: another version; worker local-"):
        work.begin()


class MadeFuture(Future[Any]):
    """A call on a made worker."""

    @property
    def status(self) -> str:
        return "finished" if self.done() else "pending"


class MadeCluster:
    """A cluster whose workers leave and come all at once; those of the first generations finish nothing."""

    address, place, local, own_workers, is_lost = "tcp://made:1", "tcp://made:1", None, 0, False

    def __init__(self, count: int, generations: int) -> None:
        self.count, self.generations, self.number, self.asked = count, generations, 0, 0

    def wait_for_workers(self, *args: object, **options: object) -> list[ClusterWorker]:
        return self.workers()

    def workers(self) -> list[ClusterWorker]:
        if self.asked >= self.count:  # all have got work
            self.asked, self.number = 0, self.number + 1
        return [
            ClusterWorker(f"tcp://{self.number}:{n}", f"{self.number}-{n}", "made", 1, 0) for n in range(self.count)
        ]

    def submit(self, compute: object, *args: Any, worker: ClusterWorker) -> MadeFuture:
        future = MadeFuture()
        if compute is problem_in:
            future.set_result({"problem": ""})
        elif self.number < self.generations:
            self.asked += 1
        else:
            future.set_result(([2 * number for number in args[-1]], 0.1))
        return future


class SilentFuture(MadeFuture):
    """A check that has ended on a worker which does not send the answer: it is very busy, or hangs."""

    def result(self, timeout: float | None = None) -> Any:
        raise TimeoutError


class PartlySilent(MadeCluster):
    """Two workers, one of which has no answer, or one that is a timeout of its own."""

    def submit(self, compute: object, *args: Any, worker: ClusterWorker) -> MadeFuture:
        future = super().submit(compute, *args, worker=worker)
        if compute is not problem_in or worker.name == "0-0":
            return future
        silent = SilentFuture()
        silent.set_result({"problem": ""})
        return silent


def test_nobody_waits_for_a_worker_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.cluster.roster.BUSY_S", 0.0)
    made: Any = PartlySilent(2, 0)
    work = dispatcher(made, tmp_path)
    assert [str(report.worker) for report in work.begin()] == ["0-0 (tcp://0:0)"]
    assert results(list(work.run(units_of(range(40), 2)))) == list(range(0, 80, 2))


def test_a_check_that_times_out_is_the_reason_why_a_worker_is_refused(tmp_path: Path) -> None:
    class Slow(MadeFuture):
        status = "error"

    future, made = Slow(), MadeCluster(1, 0)
    future.set_exception(TimeoutError("slow disk"))
    answer = read_answer(made, made.workers()[0], future, patience=0)  # type: ignore[arg-type]
    assert answer == {"problem": "it cannot describe itself: TimeoutError: slow disk"}


@pytest.mark.parametrize(("generations", "ends"), [(2, False), (100, True)])
def test_many_workers_that_end_at_once_end_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generations: int, *, ends: bool
) -> None:
    """As when the job of a large cluster reaches its time limit; but if that happens again and again, nothing helps."""
    monkeypatch.setattr("featurebank.cluster.roster.LOOK_S", 0.0)
    monkeypatch.setattr("featurebank.cluster.dispatch.LOOK_S", 0.001)
    made: Any = MadeCluster(40, generations)
    work = dispatcher(made, tmp_path)
    work.begin()
    units = units_of(range(160), 2)
    if ends:
        with pytest.raises(ClusterError, match="workers of tcp://made:1 died 120 times in a row"):
            list(work.run(units))
    else:
        assert results(list(work.run(units))) == list(range(0, 320, 2))


def test_a_cluster_that_ends_all_its_workers_blames_no_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many workers, and little work."""
    monkeypatch.setattr("featurebank.cluster.roster.LOOK_S", 0.0)
    monkeypatch.setattr("featurebank.cluster.dispatch.LOOK_S", 0.001)
    made: Any = MadeCluster(6, 100)
    work = dispatcher(made, tmp_path)
    work.begin()
    outcomes = []
    with pytest.raises(ClusterError, match="died 18 times in a row"):
        outcomes.extend(work.run(units_of(range(6), 1)))
    assert outcomes == []
