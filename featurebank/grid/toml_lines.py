"""Where the keys of a grid file stand: `tomllib` gives values without lines.

A TOML file is a sequence of statements (a header, or a key with its value), and each of them alone is TOML again, while
no part of one is. So a statement ends with the first line after which `tomllib` can read it. What comments, strings and
arrays over several lines look like is for `tomllib` to know.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class BlockPlace:
    """The line of a block's header, and of each of its keys, counted from 1."""

    line: int
    keys: dict[str, int] = field(default_factory=dict)


@dataclass
class Places:
    """The lines of a file's keys outside its blocks, and of its blocks in order."""

    top: dict[str, int] = field(default_factory=dict)
    blocks: list[BlockPlace] = field(default_factory=list)


def find_places(text: str, name: str) -> Places:
    """Returns where the keys and the `[[name]]` blocks of a valid TOML text stand.

    Blocks that are written as tables in one list have the line of the list, and their keys have none of their own.
    """
    found = Places()
    keys = found.top
    for line, header, value in _statements(text):
        key, inner = next(iter(value.items()))
        if not header:
            keys.setdefault(key, line)
            if keys is found.top and key == name and isinstance(inner, list):
                found.blocks += [BlockPlace(line) for _ in inner]
        elif key == name and isinstance(inner, list):
            found.blocks.append(BlockPlace(line))
            keys = found.blocks[-1].keys
        elif key == name and found.blocks:  # a table inside the last block, as [head.class_weight]
            found.blocks[-1].keys.setdefault(next(iter(inner), ""), line)
            keys = {}
        else:
            found.top.setdefault(key, line)
            keys = {}
    return found


def _statements(text: str) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """Yields each statement's first line, whether it is a header, and its value."""
    lines = text.replace("\r\n", "\n").split("\n")
    begin = 0
    for end in range(1, len(lines) + 1):
        try:
            value = tomllib.loads("\n".join(lines[begin:end]))
        except (ValueError, RecursionError):
            continue
        if value:
            yield begin + 1, lines[begin].lstrip().startswith("["), value
        begin = end
