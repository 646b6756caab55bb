"""A shell for the sessions of the documentation: featurebank runs in this process, on a terminal of 100 columns."""

from __future__ import annotations

import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from featurebank import set_ram, set_threads
from featurebank.cli import main

WIDTH = 100
TERMINAL = {"COLUMNS": str(WIDTH), "LINES": "50", "TERM": "dumb"}  # a dumb one has no colours
PROGRAMS = {
    "cat", "cd", "cp", "cut", "echo", "export", "grep", "head", "ls", "mkdir", "mv", "python", "rm", "sed", "sort",
    "tail", "touch", "unzip", "wc",
}  # fmt: skip
"""What a session may use beside featurebank."""
WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s|&;<>'"\\])+|&&|\|\||>>|[|&;<>]""")
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


class Screen(io.TextIOWrapper):
    """A stream of a process that counts as a terminal, or not."""

    def __init__(self, to: io.BytesIO, *, terminal: bool) -> None:
        super().__init__(to, encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def close(self) -> None:
        """What is written stays readable."""
        self.flush()


class NoBars:
    """Instead of the bars on a terminal, of which a page shows nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def draw(self, *arguments: object) -> None:
        pass

    def leave(self, *arguments: object) -> None:
        pass

    def stop(self) -> None:
        pass


class Shell:
    """Runs the commands of one page in the directory of the process; `cd` and `export` change both."""

    def __init__(self) -> None:
        self.code = 0
        """The exit code of the last command."""

    def run(self, line: str) -> str:
        """Runs a line and returns what it prints on both streams."""
        printed = ""
        words = WORD.findall(line)
        while words:
            end = next((place for place, word in enumerate(words) if word in {"&&", ";"}), len(words))
            printed += self._run_one(words[:end])
            if self.code and words[end : end + 1] == ["&&"]:
                break
            words = words[end + 1 :]
        return CONTROL.sub("", printed)

    def _run_one(self, words: list[str]) -> str:
        end = next((place for place, word in enumerate(words) if word in {"|", ">", ">>"}), len(words))
        name, rest = words[0], words[end:]
        if name == "cd":
            os.chdir(self._expanded(words[1:])[0])
        elif name == "export":
            os.environ.update(word.split("=", 1) for word in self._expanded(words[1:]))
        elif name in {"featurebank", "python"}:
            arguments = self._expanded(words[1:end])
            output, messages = self._in_process(name, arguments, terminal=not rest)
            after = "cat " + " ".join(rest) if rest and rest[0] != "|" else " ".join(rest[1:])
            code = self.code
            shown = messages + (self._bash(after, output) if rest else output)
            self.code = code or self.code
            return shown
        else:
            return self._bash(" ".join(words))
        self.code = 0
        return ""

    def _expanded(self, words: list[str]) -> list[str]:
        """Returns words as bash passes them to a program: without quotes, with the values of variables and patterns."""
        done = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {' '.join(words)}"], capture_output=True, text=True, check=True
        )
        return done.stdout.split("\0")[:-1] if words else []

    def _bash(self, line: str, given: str = "") -> str:
        names = [part.split()[0] for part in line.split("|")]
        unknown = [name for name in names if name not in PROGRAMS]
        if unknown:
            self.code = 127
            return f"a session cannot run '{unknown[0]}', but {', '.join(sorted(PROGRAMS))}\n"
        done = subprocess.run(
            ["bash", "-c", line], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        self.code = done.returncode
        return done.stdout

    def _in_process(self, name: str, words: list[str], *, terminal: bool) -> tuple[str, str]:
        """Runs featurebank, or a file with Python code.

        Returns:
            What it prints on standard output, and what on standard error; if the former is a terminal, both together
            as the first.
        """
        output = io.BytesIO()
        messages = output if terminal else io.BytesIO()
        argv = [name, *words] if name == "featurebank" else words
        with (
            patch.object(sys, "argv", argv),
            patch.object(sys, "stdout", Screen(output, terminal=terminal)),
            patch.object(sys, "stderr", Screen(messages, terminal=False)),
            patch.object(sys, "path", [str(Path.cwd()), *sys.path]),
            patch.dict(os.environ, TERMINAL),
            patch("featurebank.cli.reporter.LogScreen", NoBars),
        ):
            self.code = 0
            try:
                main() if name == "featurebank" else runpy.run_path(words[0], run_name="__main__")
            except SystemExit as end:
                self.code = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                set_threads(None)
                set_ram(None)
        return output.getvalue().decode(), "" if terminal else messages.getvalue().decode()
