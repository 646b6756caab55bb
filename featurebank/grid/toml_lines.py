"""Finds the line numbers of the keys of a grid file, which `tomllib` does not provide.

A TOML file is a sequence of statements (a header, or a key with its value). Each statement alone is valid TOML, but no
part of one is. So a statement ends with the first line after which `tomllib` can parse it; this also handles comments,
and strings and arrays over several lines.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class BlockPlace:
    """The lines of a block's header and of its keys, counted from 1."""

    line: int
    keys: dict[str, int] = field(default_factory=dict)


@dataclass
class Places:
    """The lines of a file's top-level keys, and of its blocks in order."""

    top: dict[str, int] = field(default_factory=dict)
    blocks: list[BlockPlace] = field(default_factory=list)


def find_places(text: str, name: str) -> Places:
    """Returns the lines of the keys and of the `[[name]]` blocks of a valid TOML text.

    Blocks that are inline tables of a list have the line of the list, and their keys have no lines.
    """
    places = Places()
    keys = places.top
    for line, header, value in _statements(text):
        key, inner = next(iter(value.items()))
        if not header:
            keys.setdefault(key, line)
            if keys is places.top and key == name and isinstance(inner, list):
                places.blocks += [BlockPlace(line) for _ in inner]
        elif key == name and isinstance(inner, list):
            places.blocks.append(BlockPlace(line))
            keys = places.blocks[-1].keys
        elif key == name and places.blocks:  # a table inside the last block, such as [head.class_weight]
            places.blocks[-1].keys.setdefault(next(iter(inner), ""), line)
            keys = {}
        else:
            places.top.setdefault(key, line)
            keys = {}
    return places


def _statements(text: str) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """Yields the first line of each statement, whether it is a header, and its value."""
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
