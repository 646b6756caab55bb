"""Worker processes on this machine: they are replaced when they die, and never outlive the client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import ended, wait_until_gone

from featurebank.cluster import local as module
from featurebank.cluster.client import connect
from featurebank.errors import ClusterError
from featurebank.system.runtime import limit_threads, threads

pytestmark = pytest.mark.heavy

_WAITING = """
import sys, time
from featurebank.cluster.client import connect
with connect("local:2") as cluster:
    workers = cluster.wait_for_workers(least=2)
    futures = [cluster.submit(time.sleep, 600, worker=worker) for worker in workers]
    print(*cluster.local.pids(), flush=True)
    time.sleep(600)
"""


def test_workers_end_with_the_client() -> None:
    """Other ends of the client: `test_kills`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with ended(process):
        assert process.stdout
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        process.terminate()
        process.wait(timeout=20)
        wait_until_gone(pids)


def test_a_worker_that_dies_is_replaced_and_no_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    with connect("local:1") as cluster:
        (worker,) = cluster.wait_for_workers()
        (pid,) = cluster.local.pids()
        os.kill(pid, signal.SIGKILL)
        while [one.address for one in cluster.workers()] in ([], [worker.address]):
            time.sleep(0.01)
        (other,) = cluster.workers()
        assert cluster.submit(os.getpid, worker=other).result() not in {pid, os.getpid()}
        assert list(tmp_path.iterdir()), "Dask's own files"
    wait_until_gone([pid])
    assert list(tmp_path.iterdir()) == []


def test_workers_share_the_threads_of_the_client() -> None:
    limit_threads(3)
    try:
        with connect("local:2") as cluster:
            workers = cluster.wait_for_workers(least=2)
            counts = [cluster.submit(threads, worker=worker).result() for worker in workers]
            assert sorted(counts) == sorted(worker.threads for worker in workers) == [1, 2]
    finally:
        limit_threads(None)


def test_a_worker_that_cannot_start_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", "raise ImportError('no such library')")
    with (
        connect("local:1") as cluster,
        pytest.raises(ClusterError, match=r"^a local worker does not start: ImportError: no such library; -v shows"),
    ):
        cluster.wait_for_workers()
