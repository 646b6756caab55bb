"""Commands that messages suggest to the user, with the global options of the running command.

>>> set_global_options(["--cache", "my banks"])
>>> print(with_global_options("'featurebank cache ls' lists them"))
'featurebank --cache "my banks" cache ls' lists them
>>> set_global_options([])
>>> print(with_global_options("'featurebank cache ls' lists them"))
'featurebank cache ls' lists them
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_COMMANDS = (
    "run", "datasets", "inspect", "backbones", "race", "extract", "heads", "leaderboard", "finetune", "export",
    "evaluate", "report", "advise", "curves", "explain", "similar", "predict", "cache", "schema",
    "doctor", "completion",
)  # fmt: skip
_NAMED = re.compile(rf"\bfeaturebank (?=(?:{'|'.join(_COMMANDS)})\b)")
_options = ""


def set_global_options(words: Sequence[str]) -> None:
    """Sets the words that are inserted into every suggested command, as ("--cache", "banks")."""
    global _options  # noqa: PLW0603 - a process runs one command
    _options = "".join(f"{quoted(word)} " for word in words)


def with_global_options(text: str) -> str:
    """Inserts the user's global options into each featurebank command that a message names.

    Apply it where messages are shown, not where they are written: a bank does not know the options that led to it.
    """
    return _NAMED.sub(lambda match: match[0] + _options, text) if _options else text


def quoted(word: str) -> str:
    """Quotes a word for a shell; prefers double quotes, because messages put single quotes around commands."""
    quoted = shlex.quote(word)
    return f'"{word}"' if quoted != word and not set(word) & set("\"$`\\!'") else quoted
