"""Workers that cannot do the work are refused before it begins."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from sent import wait_for

from featurebank.cluster import checks
from featurebank.cluster.checks import Probe, WorkerReport, describe_worker, probe_file, read_report
from featurebank.cluster.client import Cluster, ClusterWorker, connect
from featurebank.errors import ClusterError

pytestmark = pytest.mark.heavy


def worker_report(problem: str, number: int = 0) -> WorkerReport:
    return WorkerReport(ClusterWorker(f"tcp://10.0.0.{number}:1", str(number), "host", 1, 0), problem)


def test_workers_of_this_machine_pass(cluster: Cluster, tmp_path: Path) -> None:
    worker = cluster.workers()[0]
    with probe_file(tmp_path / "cache") as probe:
        report = read_report(cluster, worker, cluster.submit(describe_worker, probe, worker=worker), patience=60)
    assert report
    assert (report.worker, report.problem, bool(report.packages["numpy"])) == (worker, "", True)
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_version_is_refused_and_both_are_named() -> None:
    problem = describe_worker(Probe("/none", "token", "client", "9.9.9"))["problem"]
    assert problem == (
        f"it has featurebank {version('featurebank')}, and the client 9.9.9: install the same version on all machines"
    )


def test_a_disk_that_is_not_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_SHARED_AFTER_S", 0.0)
    with probe_file(tmp_path) as probe:
        assert describe_worker(probe)["problem"] == ""
        other = describe_worker(replace(probe, token="another", host="client"))["problem"]
        (tmp_path / "elsewhere").mkdir()
        there = tmp_path / "elsewhere" / Path(probe.path).name
        gone = describe_worker(replace(probe, path=str(there)))["problem"]
    assert "does not see the files that the client on host client writes into" in other
    assert f"'{tmp_path / 'elsewhere'}': use a --cache on a disk that all machines share" in gone


def test_a_worker_without_the_function_is_of_another_featurebank_and_lives(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask would end the worker, and each one that replaces it."""
    (tmp_path / "only_the_client_has.py").write_text("def describe(): return {'problem': ''}")
    monkeypatch.syspath_prepend(tmp_path)
    from only_the_client_has import describe

    worker = cluster.workers()[0]
    report = read_report(cluster, worker, cluster.submit(describe, worker=worker), patience=30)
    assert report
    assert "is of another state than the client's" in report.problem
    assert cluster.submit(os.getpid, worker=worker).result() in cluster.local.pids()


def test_a_worker_that_dies_during_the_check_has_no_report() -> None:
    with connect("local:1") as cluster:
        (worker,) = cluster.wait_for_workers()
        future = cluster.submit(os.kill, cluster.local.pids()[0], signal.SIGKILL, worker=worker)
        assert read_report(cluster, worker, future, patience=60) is None


def test_a_worker_that_is_busy_has_no_report_yet(cluster: Cluster, tmp_path: Path) -> None:
    worker, done = cluster.workers()[0], tmp_path / "done"
    busy = [cluster.submit(wait_for, str(done), worker=worker) for _ in range(worker.threads)]
    with probe_file(tmp_path) as probe:
        assert read_report(cluster, worker, cluster.submit(describe_worker, probe, worker=worker), patience=0) is None
    done.touch()
    assert [future.result() for future in busy] == [None] * worker.threads


def test_the_first_problems_are_listed() -> None:
    with pytest.raises(
        ClusterError, match=r"^worker 0 \(tcp://10.0.0.0:1\): old; worker 1 .*: old; and 2 more workers$"
    ):
        checks.refuse_problems([worker_report("old", number) for number in range(7)])
