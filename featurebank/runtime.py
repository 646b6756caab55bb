"""How many threads the work may use: one knob for every library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError

_chosen: int | None = None
_side_by_side = False


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
    """Returns how many threads the work may use: inside `side_by_side`, each piece of it one."""
    return 1 if _side_by_side else _chosen or usable_cores()


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


@contextlib.contextmanager
def side_by_side() -> Iterator[int]:
    """Lets pieces of work run beside each other, each on one thread, inside the block; gives how many at a time.

    For many small pieces this is the better use of the cores: on a matrix of 1253 x 1280, two threads of OpenBLAS take
    longer than one as soon as anything else wants a core, because they wait for each other at every product.
    """
    global _side_by_side  # noqa: PLW0603 - as for the choice itself
    count = threads()
    with limited_blas(1):
        _side_by_side = True
        try:
            yield count
        finally:
            _side_by_side = False


def default_cache() -> Path:
    """Returns where banks lie unless told otherwise: `$FEATUREBANK_CACHE`, else `./cache`."""
    return Path(os.environ.get("FEATUREBANK_CACHE") or "cache")


def installed_versions(*packages: str) -> dict[str, str]:
    """Returns the versions of those packages that are installed; the same module may come in one of several."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def import_tensorflow() -> Any:
    """Imports TensorFlow, without the greetings of its C++ code on standard error, and gives it its threads.

    They are printed before TensorFlow's own log level is looked at, so the file descriptor itself is turned away
    while it is imported and finds its devices. If that fails, what was held back is printed.

    Returns:
        The module `tensorflow`.
    """
    import sys

    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with _held_back_stderr():
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # its threads are fixed once it has run something
            tf.config.threading.set_intra_op_parallelism_threads(threads())
            tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.list_logical_devices()
    return tf


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    import sys
    import tempfile

    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error to hold back, as under some services
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            except BaseException:
                held.seek(0)
                os.write(kept, held.read())
                raise
            finally:
                os.dup2(kept, 2)
    finally:
        os.close(kept)
