"""How many threads and how much memory the work may use: one knob of each for every library."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError, EngineError
from featurebank.system.progress import step
from featurebank.system.stderr import without_greetings

_chosen: int | None = None
_chosen_ram: int | None = None
_side_by_side = False
_native_logs = False
_tensorflow: Any = None
_forked_with_tensorflow = False

_UNITS = ("", "K", "M", "G", "T")
_LEAST_BYTES = 10**6


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


def set_ram(limit: int | str | None) -> None:
    """Chooses how many bytes of features featurebank may hold in memory at once; None means half of the memory.

    Args:
        limit: bytes, or a text as "8GB", "500 MB", "2e9".

    Raises:
        ConfigError: it is not such a number, or below a megabyte.
    """
    global _chosen_ram  # noqa: PLW0603 - as for threads
    _chosen_ram = None if limit is None else parse_bytes(limit, "--ram")


def ram_limit() -> int:
    """Returns how many bytes of features may be held in memory at once."""
    return _chosen_ram or usable_memory() // 2


def usable_memory() -> int:
    """Returns the bytes of memory that this process can have: the machine's, or the control group's if that is less."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        found = 8 << 30
    with contextlib.suppress(OSError, ValueError):
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return found


def parse_bytes(text: int | str, option: str, *, least: int = _LEAST_BYTES) -> int:
    """Reads a number of bytes as "8GB", "500 MB" or "2e9"; units are powers of 1000, with an i as in "8GiB" of 1024.

    Args:
        text: the number.
        option: what it is given as, for the message.
        least: the smallest that makes sense.

    Raises:
        ConfigError: it is no such number, or below the least.
    """
    match = re.fullmatch(r"\s*([0-9.eE+]+)\s*(?:([kKmMgGtT])([iI]?))?[bB]?\s*", str(text))
    size = 0
    if match:
        with contextlib.suppress(ValueError, OverflowError):
            unit = (1024 if match[3] else 1000) ** _UNITS.index((match[2] or "").upper())
            size = int(float(match[1]) * unit)
    if size < least:
        message = f"{option} is '{text}': expected a number of bytes of {tidy_bytes(least)} or more, as 500MB or 8GB"
        raise ConfigError(message)
    return size


def tidy_bytes(count: float) -> str:
    """Returns a number of bytes for people, with a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - decimal units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


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


def set_native_logs(*, shown: bool) -> None:
    """Chooses whether what the C++ code of TensorFlow, XLA and CUDA prints of itself reaches standard error."""
    global _native_logs  # noqa: PLW0603 - as for threads
    _native_logs = shown


def _note_fork() -> None:
    """Remembers in a forked process that its parent had TensorFlow, whose threads are not there any more."""
    global _forked_with_tensorflow  # noqa: PLW0603 - as for threads
    _forked_with_tensorflow = "tensorflow" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def import_tensorflow() -> Any:
    """Imports TensorFlow, without the greetings of its C++ code on standard error, and gives it its threads.

    They are printed before TensorFlow's own log level is looked at, so the file descriptor itself is turned away
    while it is imported and finds its devices. If that fails, or the process dies, what was held back is printed.

    Returns:
        The module `tensorflow`.

    Raises:
        EngineError: the process was forked from one that had imported TensorFlow, where it would hang.
    """
    global _tensorflow  # noqa: PLW0603 - a process imports it once
    if _forked_with_tensorflow:
        message = (
            "this process was forked after TensorFlow had been imported, and TensorFlow hangs in such a process: start "
            "it by multiprocessing.get_context('spawn'), or fork before anything is computed"
        )
        raise EngineError(message)
    if _tensorflow is None:
        if not _native_logs:  # of XLA's service, compiled clusters and the like, printed long after the import
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with contextlib.nullcontext() if _native_logs else without_greetings(), step("loading TensorFlow"):
            import tensorflow as tf

            with contextlib.suppress(RuntimeError):  # its threads are fixed once it has run something
                tf.config.threading.set_intra_op_parallelism_threads(threads())
                tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.list_logical_devices()
        _tensorflow = tf
    return _tensorflow
