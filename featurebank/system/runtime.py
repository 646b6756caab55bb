"""Limits on threads and memory: one setting of each for all libraries."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, TypeVar

from featurebank.errors import ConfigError, EngineError
from featurebank.system.imports.triton import hide_triton
from featurebank.system.progress import step
from featurebank.system.stderr import without_greetings

_T = TypeVar("_T")

_threads: int | None = None
_ram_limit: int | None = None
_side_by_side = False
_native_logs = False
_tensorflow: Any = None
_forked_with_tensorflow = False

_UNITS = ("", "K", "M", "G", "T")
_LEAST_BYTES = 10**6


def limit_threads(count: int | None) -> None:
    """Sets how many threads featurebank uses in this process; see `featurebank.set_threads`."""
    global _threads  # noqa: PLW0603 - the setting belongs to the process, as its cores do
    if count is not None and count < 1:
        message = f"--threads is {count}: expected 1 or more; leave it out to use every core"
        raise ConfigError(message)
    _threads = count


def threads() -> int:
    """Returns how many threads the work may use; inside `side_by_side`, each piece of work gets one."""
    return 1 if _side_by_side else all_threads()


def all_threads() -> int:
    """Returns how many threads the process may use, also inside `side_by_side`: for work that the others wait for."""
    return _threads or usable_cores()


def usable_cores() -> int:
    """Returns how many cores this process may run on; that may be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


def limit_ram(limit: int | str | None, name: str = "--ram") -> None:
    """Sets how many bytes of features may be in memory at once; see `featurebank.set_ram`.

    Args:
        limit: see `featurebank.set_ram`.
        name: what messages call the limit.
    """
    global _ram_limit  # noqa: PLW0603 - as for threads
    _ram_limit = None if limit is None else parse_bytes(limit, name)


def ram_limit() -> int:
    """Returns how many bytes of features may be held in memory at once."""
    return _ram_limit or usable_memory() // 2


def ram_option() -> int | None:
    """Returns the bytes that the user allows; None if the user chose no limit."""
    return _ram_limit


def usable_memory() -> int:
    """Returns the bytes of memory that this process can use: the machine's, or its control group's if that is less."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 8 << 30
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return memory


def parse_bytes(text: int | str, option: str, *, least: int = _LEAST_BYTES) -> int:
    """Parses a number of bytes like "8GB", "500 MB" or "2e9"; units are powers of 1000, or of 1024 with "i" ("8GiB").

    Args:
        text: the number.
        option: name of the option, for the message.
        least: the smallest valid number.

    Raises:
        ConfigError: the text is not a number of bytes, or the number is below `least`.
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
    """Formats a number of bytes with a decimal unit, as "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - decimal units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@contextlib.contextmanager
def limited_blas(count: int | None = None) -> Iterator[None]:
    """Limits BLAS and OpenMP to `count` threads (default: `threads()`) inside the block."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(count or threads()):
        yield


@contextlib.contextmanager
def limited_openmp() -> Iterator[None]:
    """Limits OpenMP to one thread for the calling thread: each thread has a limit of its own, unlike in OpenBLAS."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        yield


class Overlapping(Generic[_T]):
    """A context that several threads may be inside at the same time: the first one enters it, the last one leaves it.

    A context that changes something of the whole process and restores it at the end needs that: else the thread that
    ends first would take the change from the others, and the last one would restore a value of another thread.

    Args:
        make: returns the context manager.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[_T]]) -> None:
        self._make, self._lock, self._stack, self._inside = make, threading.Lock(), contextlib.ExitStack(), 0
        self._value: Any = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[_T]:
        """Returns the context manager for one block; it yields what the first one's yielded."""
        with self._lock:
            if not self._inside:
                self._value = self._stack.enter_context(self._make())
            self._inside += 1
        try:
            yield self._value
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._stack.close()


@contextlib.contextmanager
def _limit_each() -> Iterator[None]:
    global _side_by_side  # noqa: PLW0603 - the setting belongs to the process
    with limited_blas(1):
        _side_by_side = True
        try:
            yield
        finally:
            _side_by_side = False


_one_thread_each = Overlapping(_limit_each)


@contextlib.contextmanager
def side_by_side() -> Iterator[int]:
    """Gives each piece of work one thread inside the block; yields how many pieces may run in parallel.

    For many small pieces this uses the cores better: on a matrix of 1253 x 1280, two threads of OpenBLAS take longer
    than one as soon as anything else needs a core, because they wait for each other at every product.
    """
    count = threads()
    with _one_thread_each():
        yield count


def processor() -> str:
    """Returns the name of the processor, as Linux tells it; elsewhere that of its kind."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return platform.processor()


def installed_versions(*packages: str) -> dict[str, str]:
    """Returns the versions of the packages that are installed, by name."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def set_native_logs(*, shown: bool) -> None:
    """Sets whether log lines of the C++ code of TensorFlow, XLA and CUDA reach standard error."""
    global _native_logs  # noqa: PLW0603 - as for threads
    _native_logs = shown


def native_logs() -> bool:
    """Returns whether the user asked for the log lines of libraries, by `-v`."""
    return _native_logs


def _note_fork() -> None:
    """Records in a forked process that its parent had imported TensorFlow, whose threads did not survive the fork."""
    global _forked_with_tensorflow  # noqa: PLW0603 - as for threads
    _forked_with_tensorflow = "tensorflow" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Pauses the search for garbage: an import makes half a million objects to keep, and looking at them takes 1 s."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def import_tensorflow() -> Any:
    """Imports TensorFlow without the log lines of its C++ code on standard error, and sets its threads.

    These lines are printed before TensorFlow reads its own log level. So the file descriptor itself is redirected
    while TensorFlow is imported and looks for devices. If that fails or the process dies, the lines are printed.

    Returns:
        The module `tensorflow`.

    Raises:
        EngineError: this process was forked from one that had imported TensorFlow; TensorFlow would hang in it.
    """
    global _tensorflow  # noqa: PLW0603 - a process imports it once
    if _forked_with_tensorflow:
        message = (
            "this process was forked after TensorFlow had been imported, and TensorFlow hangs in such a process: start "
            "it by multiprocessing.get_context('spawn'), or fork before anything is computed"
        )
        raise EngineError(message)
    if _tensorflow is None:
        users_own = "tensorflow" in sys.modules  # it has read its log level, and logs what it does for the first time
        quiet = contextlib.nullcontext() if _native_logs else _quiet_tensorflow()
        with quiet, step("loading TensorFlow"), _no_collection():
            import tensorflow as tf

            with contextlib.suppress(RuntimeError):  # the threads are fixed once TensorFlow has run something
                tf.config.threading.set_intra_op_parallelism_threads(threads())
                tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.list_logical_devices()
            if users_own:
                tf.function(lambda: tf.constant(0.0) + 1.0, jit_compile=True)()
        hide_triton()
        _tensorflow = tf
    return _tensorflow


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Hides TensorFlow's first log lines while the block runs; TensorFlow reads its log level there, once."""
    name = "TF_CPP_MIN_LOG_LEVEL"
    level = os.environ.get(name)
    os.environ.setdefault(name, "2")  # lines of XLA's service and its clusters come long after the import
    try:
        with without_greetings():
            yield
    finally:
        if level is None:
            os.environ.pop(name, None)
