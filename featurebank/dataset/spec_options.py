"""Options inside a dataset's specification, as "folder:photos#layout=splits"."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

_OPTIONS = re.compile(r"#([a-z]+=[^,#=]+(?:,[a-z]+=[^,#=]+)*)$")


def split_options(text: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Splits a text into a path or URL and its options.

    Args:
        text: "PATH" or "PATH#NAME=VALUE,NAME=VALUE"; an existing file or folder of that whole name is a path.
        known: the names of the options.

    Example:
        >>> split_options("photos.csv#path=file,label=class", ["path", "label", "split"])
        ('photos.csv', {'path': 'file', 'label': 'class'})
    """
    match = _OPTIONS.search(text)
    if match is None or os.path.exists(os.path.expanduser(text)):  # noqa: PTH110, PTH111 - a URL is no Path
        return text, {}
    options = dict(option.split("=", 1) for option in match[1].split(","))
    return (text[: match.start()], options) if set(options) <= set(known) else (text, {})


def join_options(path: str, options: Mapping[str, str]) -> str:
    """Returns the text that `split_options` splits."""
    return f"{path}#{','.join(f'{name}={value}' for name, value in options.items())}" if options else path
