"""The pages of the manual and what tests read in them: blocks, prose, names and commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from featurebank.cli import group

ROOT = Path(__file__).resolve().parents[2]

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"

MANUAL = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]

PAGES = [README, CONTRIBUTING, ROOT / "cache" / "README.md", *MANUAL]

FENCE = re.compile(r"^```([^\s`]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Returns the fenced blocks of a page that name this language."""
    return [text for name, text in FENCE.findall(text_of(page)) if name == language]


def prose(page: Path) -> str:
    """Returns a page without its fenced blocks."""
    return FENCE.sub("", text_of(page))


def code_spans(page: Path) -> list[str]:
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Returns the command that the first words name, and the other words."""
    command: click.Command = group
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    return command, rest


def options_of(command: click.Command) -> set[str]:
    return {name for option in [*command.params, *group.params] for name in [*option.opts, *option.secondary_opts]}


def all_commands(command: click.Command = group) -> list[click.Command]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(one for sub in below for one in all_commands(sub))]


def named_options(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", text)


def commands_of(page: Path) -> list[list[str]]:
    """Returns the words of each command of featurebank that a page shows to be typed, in its order."""
    typed = [part.strip() for line in prose(page).splitlines() if line.startswith("    ") for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in typed if part.startswith("featurebank ")]


def help_examples() -> list[list[str]]:
    """Returns the words of each example in the help of the command line."""
    lines = CliRunner().invoke(group, ["--help"]).output.splitlines()
    return [shlex.split(line.strip().split("  ")[0])[1:] for line in lines if line.startswith("    featurebank ")]
