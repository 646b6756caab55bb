"""Connects to a Dask scheduler, or starts one on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from featurebank.cluster.address import local_workers, scheduler_address
from featurebank.cluster.local import LocalWorkers, local_cluster
from featurebank.cluster.packages import import_distributed, quiet
from featurebank.cluster.remote_call import packed_call, run_packed
from featurebank.errors import ClusterError, ConfigError
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import one_line

PATIENCE_S = 8.0
"""Time that a scheduler has to answer; with the imports, the user learns within 10 s that nobody does."""
SILENT_S = 60.0
"""A scheduler whose connection holds may be silent for so long, because it is busy; then it counts as gone."""
_PROCESS = re.compile(r"(?<=\d)-\d+$")
_AGAIN_S = 0.1
_SAY_AFTER_S = 2.0


@dataclass(frozen=True)
class ClusterWorker:
    """A worker as the scheduler describes it."""

    address: str
    name: str
    host: str
    threads: int
    gpus: int
    """The Dask resource "GPU" of the worker; tasks for it ask for one."""

    @property
    def resources(self) -> dict[str, int]:
        """The Dask resources that a task for this worker asks for."""
        return {"GPU": 1} if self.gpus else {}

    @property
    def label(self) -> str:
        """The name without the process: a process that replaces another one has the same; "" if it is an address."""
        if self.name.startswith("local-"):
            return _PROCESS.sub("", self.name)
        return "" if "://" in self.name else self.name

    def __str__(self) -> str:
        return self.address if self.name == self.address else f"{self.name} ({self.address})"


@dataclass(frozen=True)
class Cluster:
    """A connection to a scheduler; `connect` makes it."""

    address: str
    """The address of the scheduler."""
    client: Any
    """The `distributed.Client`."""
    local: LocalWorkers | None
    """The workers that this process has started; None if the user started them."""

    @property
    def place(self) -> str:
        """Where the workers are, for messages: the address that the user gave, or "this machine"."""
        return "this machine" if self.local else self.address

    @property
    def own_workers(self) -> int:
        """The number of workers that this process has started."""
        return len(self.local.shares) if self.local else 0

    def workers(self) -> list[ClusterWorker]:
        """Asks the scheduler which workers it has now, in the order of their addresses.

        Raises:
            ClusterError: the scheduler is gone, or a local worker cannot be started.
        """
        if self.local:
            self.local.check()
        identity = self._ask(lambda: self.client.sync(self._identity, callback_timeout=PATIENCE_S))
        return [
            ClusterWorker(
                address,
                str(one["name"]),
                str(one["host"]),
                int(one["nthreads"]),
                int(one.get("resources", {}).get("GPU", 0)),
            )
            for address, one in sorted(identity["workers"].items())
            if one.get("status", "running") in {"running", "paused"}
        ]

    def wait_for_workers(self, reporter: Reporter = SILENT, *, least: int = 1) -> list[ClusterWorker]:
        """Waits until the scheduler has workers, and says so after two seconds.

        Args:
            reporter: receives the message.
            least: how many workers to wait for.

        Returns:
            The workers.

        Raises:
            ClusterError: the scheduler is gone, or a local worker cannot be started.
        """
        began, silent = time.monotonic(), not self.local
        with contextlib.ExitStack() as stack:
            while len(workers := self.workers()) < least:
                if time.monotonic() - began > _SAY_AFTER_S and silent:
                    reporter.say(f"the scheduler at {self.address} has no workers yet: waiting for them")
                    stack.enter_context(reporter.step(f"waiting for workers of {self.address}"))
                    silent = False
                time.sleep(_AGAIN_S)
        return workers

    def submit(self, function: Callable[..., Any], /, *args: Any, worker: ClusterWorker) -> Any:
        """Submits a call to one worker, which runs it once; returns Dask's future. It has the error of a failed import.

        Args:
            function: a function that the worker can import.
            args: its arguments.
            worker: the worker; no other one runs the call.

        Raises:
            ClusterError: the scheduler is gone.
        """
        call = packed_call(function, args)
        return self._ask(
            lambda: self.client.submit(
                run_packed, call, workers=[worker.address], allow_other_workers=False, pure=False,
                resources=worker.resources or None, key=f"{function.__name__}-{uuid.uuid4().hex}",
            )
        )  # fmt: skip

    @property
    def is_lost(self) -> bool:
        """Whether the connection to the scheduler has ended."""
        return bool(self.client.status != "running")

    def lost(self) -> ClusterError:
        """Returns the error for a scheduler that is gone."""
        message = (
            f"the Dask scheduler at {self.address} is gone: finished work is saved; start a scheduler and workers, and "
            "run the same command again"
        )
        return ClusterError(message)

    async def _identity(self) -> Any:
        return await self.client.scheduler.identity(n_workers=-1)

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Returns the answer of the scheduler."""
        ends = time.monotonic() + SILENT_S
        while not self.is_lost:
            try:
                return call()
            except TimeoutError:  # it is busy, or a laptop slept; if its connection ends, it is lost
                if time.monotonic() > ends:
                    break
            except (OSError, RuntimeError, ValueError, asyncio.CancelledError):
                if not self.is_lost and not self._is_dead():
                    raise
                break
        raise self.lost()

    def _is_dead(self) -> bool:
        return not _answers(self.address, self.client.security)


@contextlib.contextmanager
def connect(address: str, *, reporter: Reporter = SILENT) -> Iterator[Cluster]:
    """Connects to a cluster while the block runs; the end of the block cancels the tasks that are left.

    Args:
        address: "tcp://host:port", "tls://host:port" or another protocol of Dask, "host:port", or "local:N": a
            scheduler and N worker processes on this machine, which end with the block.
        reporter: receives the messages.

    Raises:
        ConfigError: the address is malformed.
        ClusterError: nobody answers there within 10 s, or it is no Dask scheduler; or the scheduler is gone.
        MissingDependencyError: distributed is not installed.
    """
    distributed = import_distributed()
    count = local_workers(address)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        if count is not None:
            with reporter.step(f"starting {count} local workers"):
                where, security, local = stack.enter_context(local_cluster(count))
        else:
            where, security, local = scheduler_address(address), _users_security(distributed, address), None
            with reporter.step(f"connecting to {where}"):
                _check_scheduler(where, security)
        try:
            client = distributed.Client(where, security=security, timeout=PATIENCE_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise _unreachable(where, error) from None  # Dask's own chain of errors is 60 lines
        stack.callback(_close, client)
        yield Cluster(where, client, local)


def check_reachable(address: str) -> None:
    """Checks that a scheduler answers at an address; local workers, which need none yet, are always reachable.

    Raises:
        ConfigError, ClusterError, MissingDependencyError: see `connect`.
    """
    distributed = import_distributed()
    if local_workers(address) is None:
        with quiet():
            _check_scheduler(scheduler_address(address), _users_security(distributed, address))


def _close(client: Any) -> None:
    with contextlib.suppress(Exception):  # whatever a lost connection raises, the work is over
        client.close(timeout=1)
    gc.collect()  # Dask's cancelled tasks complain when they are freed: now, when nobody listens


def _users_security(distributed: Any, address: str) -> Any:
    """Returns the keys and certificates of the user's Dask configuration.

    Raises:
        ConfigError: the protocol needs some, and there are none, or they cannot be read.
    """
    try:
        security = distributed.Security()
        arguments = security.get_connection_args("client")
    except (OSError, ValueError) as error:
        message = f"the certificates of Dask's configuration cannot be used: {one_line(str(error), 200)}"
        raise ConfigError(message) from error
    if address.startswith(("tls://", "wss://")) and not arguments.get("ssl_context"):
        message = (
            f"--cluster is '{one_line(address, 80)}', and Dask's configuration names no certificates: set "
            "distributed.comm.tls, see https://distributed.dask.org/en/stable/tls.html"
        )
        raise ConfigError(message)
    return security


def _identify(address: str, security: Any, patience: float) -> Any:
    """Returns how a server of Dask describes itself, or raises an error after `patience` seconds."""
    distributed = import_distributed()

    async def ask() -> Any:
        arguments = security.get_connection_args("client")
        async with distributed.core.rpc(address, timeout=patience, connection_args=arguments) as server:
            return await server.identity()

    async def within() -> Any:
        return await asyncio.wait_for(ask(), patience)

    return distributed.utils.LoopRunner().run_sync(within)  # in a thread: notebooks have a loop in this one


def _answers(address: str, security: Any) -> bool:
    try:
        return bool(_identify(address, security, 2.0))
    except Exception:  # noqa: BLE001 - whatever comes, it is no answer
        return False


def _check_scheduler(address: str, security: Any) -> None:
    """Raises ClusterError if there is no scheduler at an address."""
    try:
        identity = _identify(address, security, PATIENCE_S)
    except MemoryError as error:  # Dask takes the first bytes for a length: "HTTP/1.1" are three exabytes
        message = (
            f"{address} is the address of a server of another kind, such as a page of Dask's dashboard: expected that "
            "of a Dask scheduler, whose port is 8786 by default"
        )
        raise ClusterError(message) from error
    except Exception as error:  # noqa: BLE001 - whatever comes, it is no scheduler
        raise _unreachable(address, error) from None
    kind = identity.get("type") if isinstance(identity, dict) else None
    if kind != "Scheduler":
        what = f"a Dask {one_line(str(kind), 40).lower()}" if kind else "a server of another kind"
        message = f"{address} is the address of {what}: expected that of a Dask scheduler"
        raise ClusterError(message)


def _unreachable(address: str, error: BaseException) -> ClusterError:
    reason = one_line(str(error), 200)
    detail = f" ({reason})" if reason and "Timed out" not in reason else ""
    message = (
        f"no Dask scheduler answers at {address}{detail}: check the address, whose port is 8786 by default, start one "
        "with 'dask scheduler', or use --cluster local:N on this machine"
    )
    return ClusterError(message)
