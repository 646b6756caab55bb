"""The options of every command stand on the page of commands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from docs.extensions.command_pages import options_text
from featurebank.cli import group

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "commands.md"


def commands(command: click.Command, words: tuple[str, ...] = ()) -> list[str]:
    if isinstance(command, click.Group):
        return [one for name, sub in command.commands.items() for one in commands(sub, (*words, name))]
    return [" ".join(words)]


@pytest.mark.parametrize("words", commands(group))
def test_every_option_is_shown_once_with_its_help(words: str) -> None:
    command: click.Command = group
    for word in words.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    text = options_text(words)
    shown = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    for option in shown:
        if option.opts != ["--json"]:
            assert len(re.findall(rf"^\|.*`{re.escape(option.opts[0])}[ `]", text, re.MULTILINE)) == 1, option.opts
    assert f"```{{options}} {words}\n" in PAGE.read_text(encoding="utf-8")


def test_an_unknown_command_is_an_error() -> None:
    with pytest.raises(KeyError):
        options_text("extrakt")
