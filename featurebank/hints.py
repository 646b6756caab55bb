"""Commands that messages tell a user to run, with the global options of the command that is running.

>>> command("cache ls")
"'featurebank cache ls'"
>>> command("extract --tap", "my tap")
"featurebank extract --tap 'my tap'"
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_options: tuple[str, ...] = ()


def set_global_options(words: Sequence[str]) -> None:
    """Chooses the words that each command is shown with, as ("--cache", "banks")."""
    global _options  # noqa: PLW0603 - a process runs one command
    _options = tuple(words)


def command_line(words: str, *arguments: object) -> str:
    """Returns a command of featurebank as it can be typed.

    Args:
        words: the command and its options, as "cache show"; shown as they are.
        arguments: further words; quoted where a shell needs that.
    """
    return " ".join(["featurebank", *map(shlex.quote, _options), words, *(shlex.quote(str(a)) for a in arguments)])


def command(words: str, *arguments: object) -> str:
    """Returns what `command_line` does, for the middle of a sentence: in quotes, where it has none itself."""
    line = command_line(words, *arguments)
    return line if "'" in line else f"'{line}'"
