"""Imports the libraries once and forks processes that find them; `forks.py` runs it as a script.

Each request comes on a connection of its own, with the files that are to be the new process's standard ones. The server
answers with a line, the number of the process, and with another one when that has ended: its exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

LIBRARIES = (
    "featurebank.cli", "featurebank.cli.commands.extract", "featurebank.cli.commands.heads", "featurebank.dataset",
    "featurebank.extraction.target", "featurebank.backbone", "featurebank.grid.stage", "featurebank.bank.maintenance",
    "PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "h5py", "joblib", "numpy", "psutil", "rich.progress",
    "scipy.stats", "sklearn.calibration", "sklearn.discriminant_analysis", "sklearn.ensemble", "sklearn.kernel_ridge",
    "sklearn.linear_model", "sklearn.naive_bayes", "sklearn.neighbors", "sklearn.pipeline", "sklearn.svm",
    "distributed", "immediate",
)  # fmt: skip
"""What many processes of tests import; not TensorFlow, whose threads do not live on in a forked process."""


def served(listener: socket.socket) -> dict[str, Any] | None:
    """Forks whatever is asked for until standard input is closed.

    Returns:
        In a new process what it was asked to run, in the server None at the end.
    """
    running: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    for source in (listener.fileno(), woken, sys.stdin.fileno()):
        selector.register(source, selectors.EVENT_READ)
    while True:
        ready = [key.fd for key, _ in selector.select()]
        if woken in ready:
            os.read(woken, 1000)
            _tell_the_ends(running)
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            words, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            while not words.endswith(b"\n"):
                words += connection.recv(1 << 20)
            process = os.fork()
            if process == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number, file in enumerate(files):
                    os.dup2(file, number)
                for end in (*files, woken, wake):
                    os.close(end)
                for other in (selector, listener, connection, *running.values()):
                    other.close()
                return dict(json.loads(words))
            for file in files:
                os.close(file)
            running[process] = connection
            connection.sendall(b"%d\n" % process)
        elif sys.stdin.fileno() in ready:
            return None


def _tell_the_ends(running: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            with running.pop(process) as connection, contextlib.suppress(BrokenPipeError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def become(words: list[str], environment: dict[str, str], directory: str) -> None:
    """Runs what `python WORDS` would run: a module (-m), a text (-c), or a file."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc] # noqa: SIM115 - as the files are now
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # type: ignore[misc] # noqa: SIM115
    first, *rest = words
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    start = str(Path(first).parent) if first not in {"-c", "-m"} else ""
    sys.path[:0] = [start, *filter(None, places)]
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ImportError):
        importlib.import_module("sitecustomize")
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = words
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    sys.path[:1] = sys.argv[2:]  # in place of the folder of this file
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as entrance:
        path = Path(entrance.getsockname())
        asked = served(entrance)
    if asked:
        become(**asked)
    else:
        shutil.rmtree(path.parent)
