"""Groups of commands: they add the global options to each command, refuse an option for one value that has several, and
suggest a command for a wrong name.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from featurebank.cli.completion import complete, completes
from featurebank.cli.context import global_options
from featurebank.system.options import OptionsError
from featurebank.words import problem_lines

_EPILOG = "This command also takes --cache, --local-cache, --threads, --ram, -q and -v: see featurebank --help."

_OTHER_NAMES: Mapping[str, Mapping[str, str]] = {
    "heads": {
        "train": "heads", "fit": "heads", "head": "heads", "grid": "heads", "classify": "predict", "infer": "predict",
        "inference": "predict", "features": "extract", "embed": "extract", "embeddings": "extract",
        "compute": "extract", "encode": "extract", "tune": "finetune", "fine-tune": "finetune", "fine_tune": "finetune",
        "unfreeze": "finetune", "list": "cache ls", "ls": "cache ls", "banks": "cache ls", "show": "cache show",
        "rm": "cache rm", "delete": "cache rm", "verify": "cache verify", "gc": "cache gc", "clean": "cache gc",
        "merge": "cache merge", "models": "backbones", "networks": "backbones", "backbone": "backbones",
        "data": "datasets", "dataset": "datasets", "convert": "export", "save": "export", "deploy": "export",
        "results": "leaderboard", "runs": "leaderboard", "board": "leaderboard", "best": "leaderboard",
        "scores": "leaderboard", "select": "leaderboard", "explore": "inspect", "describe": "inspect",
        "look": "inspect", "html": "report", "page": "report", "dashboard": "report", "visualize": "report",
        "history": "curves", "plot": "curves", "curve": "curves", "search": "similar",
        "neighbours": "similar", "neighbors": "similar", "nearest": "similar",
        "advice": "advise", "relabel": "advise",
        "pipeline": "run", "start": "run", "check": "doctor", "health": "doctor",
    },
    "ls": {
        "list": "ls", "info": "show", "describe": "show", "remove": "rm", "delete": "rm", "del": "rm",
        "check": "verify", "clean": "gc", "prune": "gc", "join": "merge", "save": "export",
    },
}  # fmt: skip
"""Common other names of commands, for each group; a command that only this group has identifies the group."""


class WrongValueError(click.ClickException):
    """Reports invalid values of single options as wrong usage."""

    exit_code = 2


class Commands(click.Group):
    """A group of commands."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Adds a command and gives it the global options."""
        super().add_command(cmd, name)
        for parameter in filter(completes, cmd.params):
            parameter._custom_shell_complete = complete  # what click's own `shell_complete=` sets
        cmd.params = [*cmd.params, *global_options(hidden=True)]
        cmd.epilog = _EPILOG

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the words before the command's name."""
        _refuse_contradictions(self, ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; errors name the options of its stage as on the command line."""
        try:
            return super().invoke(ctx)
        except OptionsError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            names = {p.name: max(p.opts, key=len) for p in (command.params if command else ())}
            messages = [problem.sentence(lambda name: names.get(name, name)) for problem in error.problems]
            if not messages:
                raise
            if all(problem.name in names for problem in error.problems):
                raise WrongValueError("; ".join(messages)) from error
            raise OptionsError(problem_lines(messages)) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns the command of a name, or fails with the most similar names."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing and args[0][:1] not in {"-", ""}:
            ctx.fail(f"no such command '{args[0]}': {self._advice(ctx, args[0])}")
        name, command, rest = super().resolve_command(ctx, args)
        if command and not (isinstance(command, Commands) or ctx.resilient_parsing):
            _refuse_contradictions(command, click.Context(command, parent=ctx, info_name=name), rest)
        return name, command, rest

    def _advice(self, ctx: click.Context, name: str) -> str:
        known = self.list_commands(ctx)
        other = next((names for own, names in _OTHER_NAMES.items() if own in known), {})
        near = [other[name.lower()]] if name.lower() in other else difflib.get_close_matches(name, known, 2)
        if near:
            way = ctx.command_path.split()[1:]  # without "featurebank"
            return "did you mean " + " or ".join(f"'{' '.join(['featurebank', *way, name])}'" for name in near) + "?"
        return "expected one of " + ", ".join(known)


def _refuse_contradictions(command: click.Command, context: click.Context, args: Sequence[str]) -> None:
    """Refuses different values of one option or key: click would silently take the last one.

    Raises:
        click.UsageError: the message has the option, the values, and what to do.
    """
    options = [one for one in command.params if isinstance(one, click.Option) and not (one.is_flag or one.count)]
    reader = copy.copy(command)
    reader.params = [_repeatable(one) if one in options else one for one in command.params]
    words: Mapping[str, Any] = reader.make_parser(context).parse_args(list(args))[0]
    asks_for_help = reader.get_help_option(context)
    if context.resilient_parsing or (asks_for_help and words.get(asks_for_help.name or "")):
        return
    for option in options:
        for name, values in _values_by_name(option, words.get(option.name or "") or ()):
            if len(values) > 1:
                shown = " and ".join(f"'{value}'" if isinstance(value, str) else "no value" for value in values)
                context.fail(f"{name} is given more than once, with {shown}: {_remedy(option, values)}")


def _repeatable(option: click.Option) -> click.Option:
    repeatable = copy.copy(option)
    repeatable.multiple = True
    return repeatable


def _values_by_name(option: click.Option, values: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yields the option with its different values; of an option for many pairs KEY=VALUE each key with its own."""
    flag = max(option.opts, key=len)
    if not option.multiple:
        yield flag, list(dict.fromkeys(values))
    elif (option.metavar or "").endswith("KEY=VALUE"):
        pairs = dict.fromkeys(tuple(part.strip() for part in value.partition("=")) for value in values)
        for key in dict.fromkeys(pair[0] for pair in pairs):
            yield f"{flag} {key}", [pair[2] for pair in pairs if pair[0] == key]


def _remedy(option: click.Option, values: Sequence[Any]) -> str:
    """Returns how to give an option several values, if there is a way, or that a command takes one."""
    flag, metavar = max(option.opts, key=len), option.metavar or ""
    if "all-of:" in metavar:
        return f"use {flag} all-of:DATASET for all banks of a dataset, or run the command once for each bank"
    if metavar.endswith("...]"):
        return f"write {flag} {','.join(values)} for several phases, or leave one out"
    return "leave one out, or run the command once for each value"
