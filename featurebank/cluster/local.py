"""A cluster on this machine: a scheduler in this process, and workers in processes of their own.

Dask's own `LocalCluster` starts its workers by `multiprocessing`, which imports the user's program again in each of
them: a script without `if __name__ == "__main__"` would start itself over and over. So the workers are started by
`subprocess` here; each ends as soon as this process has ended, however it ended, because a pipe between them closes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from featurebank.cluster.packages import import_distributed
from featurebank.errors import ClusterError
from featurebank.system.runtime import native_logs, ram_limit, threads
from featurebank.words import one_line

LOOPBACK = "127.0.0.1"
NO_DASHBOARD = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
"""Dask serves some pages by HTTP in any case: only for this machine, and on any free port."""
QUIET_LOOPS = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
}
"""Nobody looks at Dask's profiles of local workers, which take some percent of a core in each process."""
_PROGRAM = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the client ends the workers
options = json.loads(sys.stdin.readline())
sys.path[:] = options.pop("path")
from featurebank.cluster.local_worker import main
main(**options)
"""
_FAILED_STARTS = 3
"""A worker that ends so often in a row before it has connected does not start at all."""


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[tuple[str, Any, LocalWorkers]]:
    """Runs a scheduler in this process and starts workers, which share the threads and the memory of this process.

    Args:
        workers: the number of workers.

    Yields:
        The address of the scheduler, its security settings for clients, and the workers.
    """
    distributed = import_distributed()
    import dask

    security = _security(distributed)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="featurebank-", ignore_cleanup_errors=True))
        with dask.config.set({"temporary-directory": scratch, **QUIET_LOOPS}):
            scheduler = stack.enter_context(
                distributed.LocalCluster(n_workers=0, host=LOOPBACK, security=security, scheduler_kwargs=NO_DASHBOARD)
            )
        address = scheduler.scheduler_address
        each, more = divmod(threads(), workers)
        shares = [max(1, each + (number < more)) for number in range(workers)]
        started = LocalWorkers(address, security, Path(scratch), shares)
        stack.callback(started.close)
        started.start()
        yield address, security, started


def _security(distributed: Any) -> Any:
    """Returns temporary keys, without which other users of this machine could run code in the workers.

    Where the package `cryptography` is not installed, there are none.
    """
    try:
        return distributed.Security.temporary()
    except ImportError:
        return distributed.Security()


@dataclass
class LocalWorkers:
    """Worker processes on this machine; one that dies is replaced."""

    address: str
    """The address of the scheduler."""
    security: Any
    scratch: Path
    """A directory for Dask's own files, and what the workers print."""
    shares: list[int]
    """The number of threads of each worker."""
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _watchers: list[threading.Thread] = field(default_factory=list)
    _problem: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_closed: bool = False

    def start(self) -> None:
        """Starts all workers; they connect to the scheduler by themselves."""
        for number in range(len(self.shares)):
            name = f"cluster-worker-{number}"
            watcher = threading.Thread(target=self._watch, args=[number], name=name, daemon=True)
            self._watchers.append(watcher)
            watcher.start()

    def check(self) -> None:
        """Raises ClusterError if a worker could not be started; the reason is the last line that it printed."""
        if self._problem:
            message = f"a local worker does not start: {self._problem}; -v shows what it prints"
            raise ClusterError(message)

    def pids(self) -> list[int]:
        """Returns the ids of the running processes."""
        with self._lock:
            return [process.pid for process in self._processes.values() if process.poll() is None]

    def close(self) -> None:
        """Ends all workers at once: files on disk are complete at any moment."""
        with self._lock:
            self._is_closed = True
            for process in self._processes.values():
                process.kill()
        for watcher in self._watchers:
            watcher.join()

    def _watch(self, number: int) -> None:
        """Starts a worker, and starts it again whenever it has ended."""
        failed = 0
        while failed < _FAILED_STARTS:
            log, ready = self.scratch / f"{number}.log", self.scratch / f"{number}.ready"
            ready.unlink(missing_ok=True)
            with log.open("wb") as output, self._lock:
                if self._is_closed:
                    return
                process = self._processes[number] = self._start(number, ready, output)
            process.wait()
            assert process.stdin, "it is a pipe"
            process.stdin.close()
            failed = 0 if ready.exists() else failed + 1
        lines = log.read_text("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit code {process.returncode}")
        self._problem = one_line(last, 200)

    def _start(self, number: int, ready: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        options = {
            "path": sys.path, "address": self.address, "threads": self.shares[number], "name": f"local-{number}",
            "scratch": str(self.scratch), "ready": str(ready), "ram": ram_limit() // len(self.shares),
            "tls": {key: value for key, value in _settings(self.security).items() if isinstance(value, str | bool)},
        }  # fmt: skip
        shown = None if native_logs() else output
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=output, stderr=shown)
        assert process.stdin, "it is a pipe"
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(options).encode() + b"\n")
            process.stdin.flush()
        return process


def _settings(security: Any) -> dict[str, Any]:
    """Returns the settings of Dask's `Security`, by name."""
    return {name: getattr(security, name) for name in type(security).__slots__}
