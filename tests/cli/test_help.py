"""Every command has help, in the time of a blink, and stands in the README."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from featurebank.cli import group

ROOT = Path(__file__).resolve().parents[2]
CODE = "import sys; sys.argv = ['featurebank', '--help']; from featurebank.cli import main; main()"
HEAVY = ("tensorflow", "keras", "numpy", "sklearn", "xgboost", "h5py", "rich", "pydantic", "PIL")


def commands(command: click.Command, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [way, *(found for name, sub in command.commands.items() for found in commands(sub, (*way, name)))]
    return [way]


@pytest.mark.parametrize("way", commands(group), ids=" ".join)
def test_every_command_explains_itself(way: tuple[str, ...]) -> None:
    result = CliRunner().invoke(group, [*way, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    command: click.Command = group
    for name in way:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or isinstance(parameter.type, click.Choice), f"{parameter.name} has no help"


@pytest.mark.parametrize("way", [way for way in commands(group) if way], ids=" ".join)
def test_every_command_is_in_the_readme(way: tuple[str, ...]) -> None:
    assert f"`{' '.join(way)}" in (ROOT / "README.md").read_text(encoding="utf-8")


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
