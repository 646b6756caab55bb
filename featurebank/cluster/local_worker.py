"""The program of a worker on this machine; `featurebank.cluster.local` starts it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurebank.cluster.local import LOOPBACK, NO_DASHBOARD, QUIET_LOOPS
from featurebank.cluster.packages import import_distributed
from featurebank.system.runtime import limit_ram, limit_threads


def main(
    address: str, *, threads: int, name: str, scratch: str, ready: str, ram: int, tls: Mapping[str, Any]
) -> None:  # fmt: skip
    """Serves a scheduler until standard input closes, that is until the process that started this one has ended.

    Args:
        address: the address of the scheduler.
        threads: how many threads the work may use.
        name: the beginning of the worker's name.
        scratch: a directory for Dask's own files.
        ready: a file to create once the worker has connected.
        ram: how many bytes of features may be in memory at once.
        tls: the arguments of Dask's `Security`.
    """
    warnings.simplefilter("ignore")
    limit_threads(threads)
    limit_ram(ram)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    own = Path(scratch, f"{name}-{os.getpid()}")
    options = {"nthreads": threads, "name": own.name, "local_directory": str(own)}
    asyncio.run(_serve(address, tls, Path(ready), options))
    shutil.rmtree(own, ignore_errors=True)
    os._exit(0)  # threads of a task would delay the end


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


async def _serve(address: str, tls: Mapping[str, Any], ready: Path, options: Mapping[str, Any]) -> None:
    distributed = import_distributed()
    import dask

    dask.config.set(QUIET_LOOPS)
    security = distributed.Security(**tls)
    worker = distributed.Worker(address, security=security, memory_limit=0, host=LOOPBACK, **NO_DASHBOARD, **options)
    async with worker:
        ready.touch()
        await worker.finished()
