"""Every command refuses different values of an option that takes one."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from featurebank.cli import group
from featurebank.cli.context import reset
from featurebank.errors import FeatureBankError

Way = tuple[str, ...]


def options(command: click.Command, way: Way = ()) -> Iterator[tuple[Way, click.Option]]:
    """Yields each option of each command, with the names of its command."""
    yield from ((way, one) for one in command.params if isinstance(one, click.Option))
    for name, below in command.commands.items() if isinstance(command, click.Group) else ():
        yield from options(below, (*way, name))


OPTIONS = list(options(group))


@pytest.fixture(autouse=True)
def commands_do_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(click.Command, "invoke", lambda *arguments: None)
    yield
    reset()


def output(*words: str) -> str:
    result = CliRunner().invoke(group, words)
    if isinstance(result.exception, FeatureBankError):  # as of --ram 1
        return str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


def two_values(option: click.Option) -> tuple[str, str]:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ("1", "2")
    return str(choices[0]), str(choices[-1])


def test_two_values_for_one_are_refused() -> None:
    singles = [(way, one) for way, one in OPTIONS if not (one.is_flag or one.multiple)]
    assert len(singles) > 150
    for way, option in singles:
        first, second = two_values(option)
        said = output(*way, option.opts[0], first, option.opts[0], second)
        expected = f"{max(option.opts, key=len)} is given more than once, with '{first}' and '{second}': "
        assert expected in said or first == second, (way, option.opts)  # a choice of one word has no second value


def test_equal_values_flags_and_repeatable_options_are_not() -> None:
    assert "more than once" in output("curves", "--bank", "1", "--bank", "2")
    for way, option in OPTIONS:
        flag = option.opts[0]
        values = ("A=1", "B=2") if option.multiple else (two_values(option)[0],) * 2
        words = (flag, flag) if option.is_flag else (flag, values[0], flag, values[1])
        assert "more than once" not in output(*way, *words), (way, flag)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("leaderboard", "--bank", "a", "--bank", "b"),
            "--bank is given more than once, with 'a' and 'b': use --bank all-of:DATASET for all banks of a dataset, "
            "or run the command once for each bank",
        ),
        (("curves", "--bank", "a", "--bank=b"), "leave one out, or run the command once for each value"),
        (("finetune", "--epochs", "3", "--epochs", "5"), "write --epochs 3,5 for several phases, or leave one out"),
        (("heads", "-p", "C=1", "-p", "fit=2", "-p", "C=3"), "-p C is given more than once, with '1' and '3': "),
        (("run", "a.toml", "--set", "heads.seeds=1", "--set", "heads.seeds=2"), "--set heads.seeds is given more"),
        (("heads", "--grid", "--grid", "quick"), "--grid is given more than once, with no value and 'quick': "),
    ],
)
def test_the_line_names_the_option_the_values_and_what_to_do(words: Way, expected: str) -> None:
    assert expected in output(*words)


def test_help_is_shown_all_the_same() -> None:
    said = output("inspect", "--limit", "3", "--limit", "4", "--help")
    assert "Usage:" in said
    assert "more than once" not in said


def test_an_option_after_the_command_replaces_that_before_it() -> None:
    assert output("--threads", "1", "datasets", "--threads", "2") == ""
