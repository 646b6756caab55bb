"""Connections to schedulers: what answers, what does not, and what is left afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest

from featurebank.cluster import client as module
from featurebank.cluster.client import Cluster, connect
from featurebank.cluster.local import NO_DASHBOARD
from featurebank.errors import ClusterError, ConfigError

pytestmark = pytest.mark.heavy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)


def test_a_call_runs_on_the_worker_that_it_is_for(cluster: Cluster) -> None:
    workers = cluster.workers()
    pids = [cluster.submit(os.getpid, worker=worker).result() for worker in workers]
    assert sorted(pids) == sorted(cluster.local.pids())


@pytest.mark.usefixtures("impatient")
def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ClusterError, match=f"^no Dask scheduler answers at tcp://127.0.0.1:{port}: check the address"):
        connect(f"127.0.0.1:{port}").__enter__()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ClusterError, match=f"^no Dask scheduler answers at tcp://127.0.0.1:{port}: check"):
            connect(f"tcp://127.0.0.1:{port}").__enter__()


@pytest.mark.usefixtures("impatient")
def test_a_web_server() -> None:
    """The port of Dask's dashboard, 8787, is mistaken for that of the scheduler."""

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        with pytest.raises(ClusterError, match=f"^tcp://127.0.0.1:{port} is the address of a server of another kind"):
            connect(f"127.0.0.1:{port}").__enter__()
        thread.join()


def test_the_patience_with_a_scheduler_is_below_ten_seconds() -> None:
    assert module.PATIENCE_S < 9


def test_a_protocol_with_certificates_needs_some() -> None:
    with pytest.raises(ConfigError, match=r"Dask's configuration names no certificates: set distributed.comm.tls"):
        connect("tls://127.0.0.1:8786").__enter__()


def test_certificates_that_do_not_exist() -> None:
    with (
        dask.config.set({"distributed.comm.tls.ca-file": "/none.pem", "distributed.comm.tls.client.cert": "/none.pem"}),
        pytest.raises(ConfigError, match=r"^the certificates of Dask's configuration cannot be used: "),
    ):
        connect("tls://127.0.0.1:8786").__enter__()


def test_the_address_of_a_worker_is_refused(bare_scheduler: tuple[str, str]) -> None:
    _, worker = bare_scheduler
    with pytest.raises(ClusterError, match=f"^{worker} is the address of a Dask worker: expected that of a Dask sched"):
        connect(worker).__enter__()


def test_a_scheduler_of_the_user(bare_scheduler: tuple[str, str]) -> None:
    address, worker = bare_scheduler
    with connect(address.removeprefix("tcp://")) as cluster:
        assert [one.address for one in cluster.wait_for_workers()] == [worker]
        assert cluster.local is None


@pytest.fixture(scope="module")
def bare_scheduler() -> Iterator[tuple[str, str]]:
    """The addresses of a scheduler and of its worker, without encryption, both in this process."""
    import distributed

    options = {"n_workers": 1, "processes": False, "protocol": "tcp://", "scheduler_kwargs": NO_DASHBOARD}
    with distributed.LocalCluster(**options) as started:
        yield started.scheduler_address, started.workers[0].address


def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    """`multiprocessing` would import the script in each worker, which would start workers of its own."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        from featurebank.cluster.client import connect
        print("began")
        with connect("local:1") as cluster:
            worker = cluster.wait_for_workers()[0]
            print(cluster.submit(len, "abc", worker=worker).result())
            print(cluster.local.pids()[0])
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    began, three, pid = done.stdout.split()
    assert (began, three) == ("began", "3")
    assert not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Silent:
    """The client of a scheduler that lets some questions wait."""

    status = "running"

    def __init__(self, silences: int) -> None:
        self.silences = silences

    def sync(self, *args: object, **options: object) -> dict[str, object]:
        self.silences -= 1
        if self.silences >= 0:
            raise TimeoutError
        return {"workers": {"tcp://one:1": {"name": "one", "host": "one", "nthreads": 1}}}


def test_a_busy_scheduler_is_asked_again() -> None:
    assert [one.name for one in Cluster("tcp://none:1", Silent(3), None).workers()] == ["one"]


def test_a_scheduler_that_stays_silent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    with pytest.raises(ClusterError, match=r"^the Dask scheduler at tcp://none:1 is gone: "):
        Cluster("tcp://none:1", Silent(10**9), None).workers()
