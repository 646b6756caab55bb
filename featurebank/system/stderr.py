"""Standard error without the greetings of native code; what such code wrote before a failure or a crash is shown."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

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
"""A process of its own, which outlives ours whatever ends that."""


@contextlib.contextmanager
def without_greetings() -> Iterator[None]:
    """Keeps lines in the style of TensorFlow's, absl's and CUDA's logs from standard error while the block runs.

    The file descriptor leads to a small process meanwhile. It passes on every line but the log's informations,
    warnings and errors, which tell of missing GPUs and the like; those, too, if the block raises or this process
    dies in it, as by an illegal instruction. Python's own `sys.stderr` goes past it, so that progress can be drawn.
    """
    with contextlib.ExitStack() as stack:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            kept = os.dup(2)
            stack.callback(os.close, kept)
            watcher = _start_watcher(kept)
        except (OSError, ValueError):  # there is no standard error to hold back, as under some services
            yield
            return
        stack.enter_context(_python_goes_to(kept))
        assert watcher.stdin is not None
        os.dup2(watcher.stdin.fileno(), 2)
        try:
            yield
            os.write(2, _END)
        finally:
            os.dup2(kept, 2)
            watcher.stdin.close()
            watcher.wait()


def _start_watcher(stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCHER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr
    )


@contextlib.contextmanager
def _python_goes_to(stderr: int) -> Iterator[None]:
    """Leads `sys.stderr` to another file descriptor, if it writes to that of standard error, while the block runs."""
    try:
        own = sys.stderr.fileno() == 2  # noqa: PLR2004 - what standard error is everywhere
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
    except (AttributeError, OSError, ValueError):  # a notebook's, or none
        own = False
    if not own:
        yield
        return
    with (
        open(os.dup(stderr), "w", buffering=1, encoding=encoding, errors=errors) as stream,  # noqa: PTH123 - a descriptor
        contextlib.redirect_stderr(stream),
    ):
        yield
