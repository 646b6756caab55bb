"""How many threads the work may use: one knob for every library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from featurebank.errors import ConfigError

_chosen: int | None = None


def set_threads(count: int | None) -> None:
    """Chooses how many threads featurebank uses in this process; None means one for each usable core.

    Raises:
        ConfigError: the count is below one.
    """
    global _chosen  # noqa: PLW0603 - a process has one answer to this, as it has one set of cores
    if count is not None and count < 1:
        message = f"--threads is {count}: expected 1 or more; leave it out to use every core"
        raise ConfigError(message)
    _chosen = count


def threads() -> int:
    """Returns how many threads the work may use."""
    return _chosen or usable_cores()


def usable_cores() -> int:
    """Returns how many cores this process may run on (which may be fewer than the machine has)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


@contextlib.contextmanager
def limited_blas(count: int | None = None) -> Iterator[None]:
    """Keeps BLAS and OpenMP to `count` threads (default: `threads()`) inside the block."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(count or threads()):
        yield
