"""Processes that begin in 20 ms, not in two seconds: forked by a server that has imported the libraries.

They are processes as others: with an environment, files and an end of their own. TensorFlow is not among the libraries,
so a test can ask whether a process has imported it. What is about starting Python itself needs `subprocess`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

SUPPORT = Path(__file__).resolve().parent


@functools.cache
def _server() -> str:
    """Starts the server of this process; returns the path of its socket."""
    path = str(Path(tempfile.mkdtemp(prefix="forks-"), "socket"))  # the server removes the folder at its end
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        number = listener.fileno()
        words = [sys.executable, str(SUPPORT / "fork_server.py"), str(number), str(SUPPORT.parents[1]), str(SUPPORT)]
        process = subprocess.Popen(words, pass_fds=[number], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def end() -> None:
        assert process.stdin
        process.stdin.close()
        process.wait()

    atexit.register(end)
    return path


class Fork(subprocess.Popen[Any]):
    """As `subprocess.Popen` of this Python; of its options those that tests need."""

    def __init__(
        self, words: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | Path | None = None,
        stdin: int | IO[Any] | None = None, stdout: int | IO[Any] | None = None, stderr: int | IO[Any] | None = None,
        text: bool = False,
    ) -> None:  # fmt: skip
        """Starts a process.

        Args:
            words: of the command, the first one `sys.executable`.
            env: its environment; None means this one.
            cwd: its working directory; None means this one.
            stdin: as of `subprocess.Popen`, as `stdout` and `stderr`.
            stdout: where it prints.
            stderr: where its messages go.
            text: True means that the pipes have text, not bytes.
        """
        assert words[0] == sys.executable
        self.args, self.returncode = list(words), None
        theirs: list[int] = []
        ours: list[IO[Any] | None] = []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            pipe = None
            if wanted == subprocess.PIPE:
                reads, writes = os.pipe()
                theirs.append(writes if number else reads)
                mode = ("r" if number else "w") + ("" if text else "b")
                pipe = os.fdopen(reads if number else writes, mode)
            elif wanted == subprocess.DEVNULL:
                theirs.append(os.open(os.devnull, os.O_RDWR))
            elif wanted == subprocess.STDOUT:
                theirs.append(os.dup(theirs[1]))
            else:
                file = number if wanted is None else wanted
                theirs.append(os.dup(file if isinstance(file, int) else file.fileno()))
            ours.append(pipe)
        self.stdin, self.stdout, self.stderr = ours
        request = {
            "words": list(words[1:]), "environment": dict(os.environ if env is None else env),
            "directory": str(cwd or Path.cwd()),
        }  # fmt: skip
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        socket.send_fds(self._connection, [b" "], theirs)
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        for file in theirs:
            os.close(file)
        self._answers = self._connection.makefile("r")
        self._asking = threading.Lock()
        self.pid = int(self._answers.readline())

    def __del__(self) -> None:
        self._answers.close()
        self._connection.close()

    def poll(self) -> int | None:
        with self._asking:
            if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
                self.returncode = int(self._answers.readline())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.poll()  # type: ignore[return-value] - it has ended

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        if self.stdin:
            if input is not None:
                self.stdin.write(input)
            self.stdin.close()
        found: dict[str, Any] = {}

        def read(name: str, pipe: IO[Any]) -> None:
            with pipe:
                found[name] = pipe.read()

        pipes = {"stdout": self.stdout, "stderr": self.stderr}
        readers = [
            threading.Thread(target=read, args=[name, pipe], daemon=True) for name, pipe in pipes.items() if pipe
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        return found.get("stdout"), found.get("stderr")

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe:
                pipe.close()
        self.wait()


def run(
    words: Sequence[str], *, timeout: float | None = None, check: bool = False, input: str | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """As `subprocess.run(WORDS, capture_output=True, text=True)`, in a forked process."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    process = Fork(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        output, error = process.communicate(input, timeout)
    finally:
        process.kill()
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output, error)
    return subprocess.CompletedProcess(process.args, process.wait(), output, error)
