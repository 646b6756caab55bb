"""Every command has help, in the time of a blink, and stands in the manual."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from featurebank.cli import group
from tests.support.commands import run_command

ROOT = Path(__file__).resolve().parents[2]
CODE = "import sys; sys.argv = ['featurebank', '--help']; from featurebank.cli import main; main()"
HEAVY = ("tensorflow", "keras", "numpy", "sklearn", "xgboost", "h5py", "rich", "pydantic", "PIL")


def commands(command: click.Command, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [way, *(found for name, sub in command.commands.items() for found in commands(sub, (*way, name)))]
    return [way]


@pytest.mark.parametrize("way", commands(group), ids=" ".join)
@pytest.mark.parametrize("columns", [80, 120])
def test_every_command_explains_itself(
    way: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by click's `CliRunner`, which has a width of its own."""
    monkeypatch.setenv("COLUMNS", str(columns))
    output, _ = run_command((*way, "--help"), monkeypatch, capsys)
    assert "Usage:" in output
    assert max(map(len, output.splitlines())) <= columns
    assert "\\b" not in output
    assert "\b" not in output
    shortened = [line for line in output.partition("Commands:")[2].splitlines() if line.endswith("...")]
    assert shortened == []  # the first sentence of each command fits into its line


@pytest.mark.parametrize("way", commands(group), ids=" ".join)
def test_every_option_says_what_it_is_and_what_it_is_without(way: tuple[str, ...]) -> None:
    command: click.Command = group
    for name in way:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help
    context = click.Context(command)
    for option in (one for one in command.params if isinstance(one, click.Option) and not one.hidden):
        words = option.help or ""
        assert words[:1].isalnum(), f"{option.opts}: its help does not begin with a word: {words!r}"
        assert "repeatable" in words.lower() or not option.multiple, f"{option.opts} does not say that it is repeatable"
        if option.is_flag:
            continue
        metavar = option.make_metavar(context)
        assert not metavar.startswith(("TEXT", "INTEGER", "FLOAT", "PATH")), f"{option.opts}: {metavar} says no more"
        default = option.to_info_dict()["default"]
        stated = option.show_default or default is None or "[default: " in words
        assert stated, f"{option.opts} hides its default {default!r}"


@pytest.mark.parametrize("way", [way for way in commands(group) if way], ids=" ".join)
def test_every_command_is_in_the_manual(way: tuple[str, ...]) -> None:
    """With its usage; the directive `options` adds its options."""
    words, context = " ".join(way), click.Context(group, info_name="featurebank")
    for name in way:
        context = click.Context(context.command.commands[name], parent=context, info_name=name)  # type: ignore[attr-defined]
    usage = " ".join(context.get_usage().split()[1:])
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert words == "cache" or f"### {words}\n\n```text\n{usage}\n```\n" in text


@pytest.mark.parametrize("way", [(), ("cache",)], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(
    way: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, errors = run_command(way, monkeypatch, capsys, code=2)
    assert out == ""
    assert errors == run_command((*way, "--help"), monkeypatch, capsys)[0]


def test_help_is_instant() -> None:
    """The least of five tries: another process may take our core, but none can make us faster than we are."""
    least = min(_cpu_seconds() for _ in range(5))
    assert least < 0.3


def _cpu_seconds() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_imports_nothing_heavy() -> None:
    code = CODE.replace("main()", "\ntry:\n main()\nexcept SystemExit: pass\n") + "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded & set(HEAVY) == set()
    assert "click" in loaded
