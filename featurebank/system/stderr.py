"""Hides the log lines of native code from standard error, but shows them after a failure or a crash."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_END = b"\x00featurebank: it went well\x00\n"
_WATCHER = rf"""
import os, re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
greeting = re.compile(
    rb"[IWE]\d{{4}} |\d{{4}}-\d\d-\d\d [\d:.]+: [IWE] |"
    rb"WARNING: All log messages before absl::|To enable the following instructions:"
)
held = []
for line in sys.stdin.buffer:
    if line == {_END!r}:
        break
    if greeting.match(line):
        held.append(line)
    else:
        os.write(2, line)
else:
    os.write(2, b"".join(held))
"""
"""A separate process, which survives however ours ends."""

_direct: TextIO | None = None


@contextlib.contextmanager
def without_greetings() -> Iterator[None]:
    """Hides log lines of TensorFlow, absl and CUDA from standard error while the block runs.

    Meanwhile the file descriptor leads to a small process. It holds back the log's info, warning and error lines, which
    report missing GPUs and the like, and passes every other line on. If the block raises or this process dies in it, as
    by an illegal instruction, the held lines are printed. Python's own `sys.stderr` bypasses it, so that progress
    can be drawn.
    """
    with contextlib.ExitStack() as stack:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            stderr = os.dup(2)
            stack.callback(os.close, stderr)
            watcher = _start_watcher(stderr)
        except (OSError, ValueError):  # there is no standard error, as under some services
            yield
            return
        stack.enter_context(_python_goes_to(stderr))
        assert watcher.stdin is not None
        os.dup2(watcher.stdin.fileno(), 2)
        try:
            yield
            os.write(2, _END)
        except KeyboardInterrupt:  # the lines explain nothing
            os.write(2, _END)
            raise
        finally:
            os.dup2(stderr, 2)
            watcher.stdin.close()
            watcher.wait()


@contextlib.contextmanager
def without_tracing_advice() -> Iterator[None]:
    """Hides TensorFlow's advice to trace less while the block runs: each model of a call is traced for good reason."""

    def is_other_line(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in str(record.msg)

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other_line)
    try:
        yield
    finally:
        logger.removeFilter(is_other_line)


def _start_watcher(stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCHER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr
    )


@contextlib.contextmanager
def _python_goes_to(stderr: int) -> Iterator[None]:
    """Redirects `sys.stderr` to another file descriptor while the block runs, if it writes to standard error's own.

    A progress display that begins or ends within the block replaces `sys.stderr`, too. Afterwards it is the stream
    of before in any case, and never the proxy of a display that has ended.
    """
    before = beneath_drawing(sys.stderr)
    try:
        own = before.fileno() == 2  # noqa: PLR2004 - standard error on every system
        encoding, errors = before.encoding, before.errors
    except (AttributeError, OSError, ValueError):  # the stream of a notebook, or none
        own = False
    if not own:
        yield
        return
    sys.stderr = stream = _direct_stream(stderr, encoding, errors)
    try:
        yield
    finally:
        stream.flush()
        if beneath_drawing(sys.stderr) is stream:
            sys.stderr = before


def beneath_drawing(stream: Any) -> Any:
    """Returns the stream that a drawing of rich has replaced, or the stream itself if none has."""
    return getattr(stream, "rich_proxied_file", stream)


def _direct_stream(stderr: int, encoding: str, errors: str | None) -> TextIO:
    """Returns the process's stream to standard error that bypasses file descriptor 2; it is never closed.

    Handlers of logs that libraries set up meanwhile hold it for good.
    """
    global _direct  # noqa: PLW0603 - one file descriptor in a process
    if _direct is None or _direct.closed:
        _direct = open(os.dup(stderr), "w", buffering=1, encoding=encoding, errors=errors)  # noqa: PTH123, SIM115
    else:
        os.dup2(stderr, _direct.fileno(), inheritable=False)
    return _direct
