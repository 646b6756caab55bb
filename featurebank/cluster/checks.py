"""Checks of workers before they get work: the same featurebank, and the same disk as the client."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featurebank.cluster.client import Cluster, ClusterWorker
from featurebank.errors import ClusterError, FeatureBankError
from featurebank.storage.caches import local_path, portable_path
from featurebank.system.backing.directories import remove
from featurebank.system.files import read_regular, write_bytes
from featurebank.system.runtime import installed_versions
from featurebank.words import counted, one_line

_PATIENCE_S = 60.0
"""Time that a worker has to answer; one that runs another user's long task may join the work later."""
_SHARED_AFTER_S = 5.0
"""Time within which a file of one machine has to appear on another one."""
_LOOK_S = 0.2
_SHOWN = 5


@dataclass(frozen=True)
class Probe:
    """What a worker compares itself with: a small file in the cache, which it finds if they are on a shared disk."""

    path: str
    """The `portable_path` of the file."""
    token: str
    """The content of the file."""
    host: str
    """The host of the client, which has written the file."""
    version: str
    """The version of the client's featurebank."""


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says about itself."""

    worker: ClusterWorker
    problem: str = ""
    """Why the worker cannot be used, in one line; empty if it can."""
    host: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    """The versions of installed packages that compute features, by name."""
    engine: str | None = None
    """The name of the engine that computes features there; None if none was loaded."""


@contextlib.contextmanager
def probe_file(cache: Path) -> Iterator[Probe]:
    """Writes a probe file into a cache, and deletes it at the end of the block."""
    token = secrets.token_hex(16)
    path = cache.absolute() / f".probe-{secrets.token_hex(8)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_bytes(path, token.encode())
        yield Probe(portable_path(path), token, socket.gethostname(), version("featurebank"))
    finally:
        remove(path)


def refuse_problems(reports: Sequence[WorkerReport]) -> None:
    """Raises ClusterError if workers cannot be used; the message names each, with the reason."""
    if wrong := [report for report in reports if report.problem]:
        lines = [f"worker {report.worker}: {report.problem}" for report in wrong[:_SHOWN]]
        more = [f"and {counted(len(wrong) - _SHOWN, 'more worker')}"] if len(wrong) > _SHOWN else []
        raise ClusterError("; ".join([*lines, *more]))


def read_report(cluster: Cluster, worker: ClusterWorker, future: Any, *, patience: float) -> WorkerReport | None:
    """Returns the report of a worker; None if it has not answered after `patience` seconds, or has died.

    Args:
        cluster: the cluster.
        worker: the worker.
        future: the future of a call of `describe_worker`, or of a function like it.
        patience: how many seconds to wait.

    Raises:
        ClusterError: the scheduler is gone.
        TimeoutError: see `read_answer`.
    """
    answer = read_answer(cluster, worker, future, patience=patience)
    return None if answer is None else WorkerReport(worker, **answer)


def read_answer(cluster: Cluster, worker: ClusterWorker, future: Any, *, patience: float) -> dict[str, Any] | None:
    """Returns the answer of a function like `describe_worker`, or one that has the problem alone; see `read_report`.

    Raises:
        ClusterError: the scheduler is gone.
        TimeoutError: the function has ended, and the worker does not send its answer within `patience` seconds.
    """
    ends = time.monotonic() + patience
    answered = threading.Event()
    future.add_done_callback(lambda _: answered.set())
    while not answered.wait(_LOOK_S):
        if time.monotonic() > ends or _has_left(cluster, worker):
            future.cancel()
            return None
    while True:
        try:
            return _sent_answer(cluster, worker, future)
        except TimeoutError:
            if _has_left(cluster, worker):
                return None
            if time.monotonic() > ends:
                raise


def _sent_answer(cluster: Cluster, worker: ClusterWorker, future: Any) -> dict[str, Any] | None:
    """Returns what `read_answer` returns for a function that has ended.

    Raises:
        ClusterError: the scheduler is gone.
        TimeoutError: the worker has not sent it yet.
    """
    try:
        answer: dict[str, Any] = future.result(timeout=_LOOK_S)
    except CancelledError:
        if cluster.is_lost:
            raise cluster.lost() from None
        return None
    except (ImportError, AttributeError):  # the function does not exist there
        return {"problem": _other_featurebank(cluster, worker)}
    except Exception as error:  # whatever the worker raises, it cannot be used
        if isinstance(error, TimeoutError) and future.status != "error":
            raise
        return {"problem": f"it cannot describe itself: {type(error).__name__}: {one_line(str(error), 300)}"}
    return answer


def _has_left(cluster: Cluster, worker: ClusterWorker) -> bool:
    return worker.address not in {one.address for one in cluster.workers()}


def _other_featurebank(cluster: Cluster, worker: ClusterWorker) -> str:
    """Describes the featurebank of a worker that lacks what this one has."""
    try:
        return _other_version(cluster.submit(version, "featurebank", worker=worker).result(timeout=_PATIENCE_S))
    except Exception:  # noqa: BLE001 - the package is not there, or the worker has died
        return f"it has no featurebank: install version {version('featurebank')} there"


def _other_version(there: str) -> str:
    here = version("featurebank")
    if there == here:
        return f"its featurebank {here} is of another state than the client's: install the same one on all machines"
    return _difference(there, here)


def _difference(there: str, here: str) -> str:
    return f"it has featurebank {one_line(there, 40)}, and the client {here}: install the same version on all machines"


def describe_worker(probe: Probe) -> dict[str, Any]:
    """Runs on a worker: returns the fields of its `WorkerReport`; `problem` if it differs from the client."""
    own = version("featurebank")
    host = socket.gethostname()
    problem = "" if own == probe.version else _difference(own, probe.version)
    if not problem and (reason := _unseen(probe)) is not None:
        problem = (
            f"host {host} does not see the files that the client on host {probe.host} writes into "
            f"'{probe.path.rpartition('/')[0].rstrip('/')}'{reason}: use a --cache on a disk that all machines share, "
            "under the same path"
        )
    packages = {"python": ".".join(map(str, sys.version_info[:3]))}
    packages |= installed_versions(
        "tensorflow-cpu", "tensorflow", "openvino", "numpy", "pillow", "h5py", "scikit-learn"
    )
    return {"problem": problem, "host": host, "packages": packages}


def _unseen(probe: Probe) -> str | None:
    """Returns why this machine does not see the probe file, "" if unknown; None if it does. Waits for a slow disk."""
    try:
        path = local_path(probe.path)
    except FeatureBankError as error:
        return f" ({one_line(error)})"
    ends = time.monotonic() + _SHARED_AFTER_S
    while True:
        with contextlib.suppress(OSError):
            if read_regular(path) == probe.token.encode():
                return None
        if time.monotonic() > ends:
            return ""
        time.sleep(_LOOK_S)
