"""The blocks of a page of the documentation that can be run, in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|(?:^<!-- file: (?P<file>\S+) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


BACKSLASH = "\\"


@dataclass(frozen=True)
class Block:
    """Something of a page that runs."""

    kind: str
    """`setup` (Python that readers do not see), `file` (a text that is stored), `python` (examples) or `console`."""
    text: str
    line: int
    """Where the text begins in the page, from one."""
    name: str = ""
    """Of the file."""


@dataclass(frozen=True)
class Command:
    """A command of a session, and what the page says that it prints."""

    words: str
    """As typed, on one line."""
    printed: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Returns what runs on a page; other blocks and prose are left out."""
    text, blocks = page.read_text(encoding="utf-8"), []
    for found in BLOCK.finditer(text):
        part = next(name for name in ("setup", "text") if found[name] is not None)
        line = text.count("\n", 0, found.start(part)) + 1
        if found["file"]:
            blocks.append(Block("file", found[part], line, found["file"]))
        elif part == "setup" or found["language"] == "console":
            blocks.append(Block(found["language"] or "setup", found[part], line))
        elif found["language"] == "python" and ">>> " in found[part]:
            blocks.append(Block("python", found[part], line))
    return blocks


def commands_of(session: Block) -> list[Command]:
    r"""Returns the commands of a session: lines that begin with `$ `, continued after `\`; what follows is printed."""
    commands: list[Command] = []
    open_ended = False
    for number, line in enumerate(session.text.splitlines(), session.line):
        if open_ended or line.startswith("$ "):
            typed = line.removeprefix("$ ") if not open_ended else line.strip()
            before = commands.pop() if open_ended else Command("", "", number)
            open_ended = typed.endswith("\\")
            words = f"{before.words} {typed.rstrip(BACKSLASH)}"
            commands.append(Command(words.strip(), "", before.line))
        elif commands:
            last = commands[-1]
            commands[-1] = Command(last.words, f"{last.printed}{line}\n", last.line)
        else:
            message = f"line {number}: a session begins with a command, '$ ...'"
            raise ValueError(message)
    return commands
