"""Shells as a user sees them: a line is typed, the Tab key is pressed, and the completed line is read."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

BASH = ["bash", "--norc", "--noprofile", "-i"]
ZSH = ["zsh", "-f", "-i"]
PATIENCE = 60
"""Seconds until a shell that writes nothing has failed."""


def require(shell: str) -> None:
    """Skips a test without this shell; where CI is set, the test fails."""
    if shutil.which(shell) is None:
        message = f"{shell} is not installed"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a shell whose `featurebank` is the one under test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(home), "TERM": "dumb", "COLUMNS": "300", **more}


class Typist:
    """Types into a shell on a terminal."""

    def __init__(self, command: list[str], start: str, home: Path, variables: Mapping[str, str]) -> None:
        """Starts a shell in a directory, runs commands in it, and waits until it has done so."""
        self._control, terminal = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=home,
            env=environment(home, variables), start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        self._send(f"{start}; echo rea''dy\n")
        self._read_until(r"^ready\r")

    def complete(self, line: str) -> str:
        """Returns the line after the Tab key and an x; the shell then only prints it."""
        self._send(f"{line}\tx")
        self._send("\x01echo 'li''ne <\x05>'\n")  # to the begin of the line, and to its end
        return self._read_until(r"^line <(.*)>\r")

    def close(self) -> None:
        """Ends the shell."""
        os.close(self._control)
        self._process.kill()
        self._process.wait()

    def _send(self, keys: str) -> None:
        os.write(self._control, keys.encode())

    def _read_until(self, pattern: str) -> str:
        text = ""
        while not (match := re.search(pattern, text, re.MULTILINE)):
            assert select.select([self._control], [], [], PATIENCE)[0], text
            text += os.read(self._control, 65536).decode(errors="replace")
        return match[match.re.groups]


def fish_completions(line: str, start: str, home: Path, variables: Mapping[str, str]) -> list[str]:
    """Returns what fish offers for a line, without descriptions."""
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{start}; complete -C $argv[1]", line],
        cwd=home, env=environment(home, variables), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [offer.partition("\t")[0] for offer in done.stdout.splitlines()]
