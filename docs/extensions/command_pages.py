"""The directive `options`: the arguments and options of one command, from click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from docs.extensions.generated import register, table
from featurebank.cli import group

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def options_text(words: str) -> str:
    """Returns the description and the options of a command in Markdown; the options are folded.

    Args:
        words: the words of the command, as "cache ls".

    Raises:
        KeyError: there is no such command.
    """
    command: Any = group
    for word in words.split():
        command = command.commands[word]
    context = click.Context(command, info_name=words)
    rows = [_row(one, context) for one in command.params if not getattr(one, "hidden", False)]
    shown = table(("option", "meaning"), [row for row in rows if row[0] not in {"`--json`"}])
    if not rows:
        return ""
    return f":::{{dropdown}} All options of {words}\n{shown}\n:::\n"


def _row(parameter: click.Parameter, context: click.Context) -> tuple[str, str]:
    """Returns the names and the meaning of an option, with the values and the default."""
    if isinstance(parameter, click.Argument):
        return f"`{parameter.make_metavar(context)}`", "argument" if parameter.required else "argument, may be left out"
    assert isinstance(parameter, click.Option)
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {parameter.make_metavar(context)}"
    about = " ".join((parameter.help or "").split())
    default = parameter.to_info_dict()["default"]
    if parameter.show_default and default is not None and not parameter.is_flag:
        about = f"{about}  [default: {default}]"
    return ", ".join(f"`{name}{value}`" for name in names), _escaped(about)


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("<", "&lt;").replace("[", "\\[").replace("_", "\\_")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "options", options_text)
