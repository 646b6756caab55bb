"""Reads the blocks of a grid from a built-in grid, a TOML file, or dicts.

A grid lists the heads to train. Options of evaluation (seeds, folds) and search are arguments of the call, options of
the command, or keys of a pipeline's `[heads]`, so that each has one place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError, unknown_name
from featurebank.grid.toml_lines import BlockPlace, find_places
from featurebank.system.toml_files import read_toml
from featurebank.words import counted, problem_lines, shown

NOT_PARAMETERS = frozenset({"kind", "tap", "name"})
"""Keys of a block that are not parameters of its head."""
MOST_HEADS = 100_000
"""Maximum number of heads of one block."""
BUILT_IN = Path(__file__).parent / "builtin"


@dataclass(frozen=True)
class GridBlock:
    """One block of a grid: heads of one kind, for all combinations of its axes."""

    values: Mapping[str, Any]
    """`kind`, optionally `tap` and `name`, and parameters."""
    axes: bool = False
    """Whether a list is an axis, as in files; otherwise it is one value."""
    source: str = ""
    """The file; empty for dicts."""
    place: BlockPlace = field(default_factory=lambda: BlockPlace(0))

    def at(self, name: str = "") -> str:
        """Returns "FILE:LINE: " for a key, or for the block if the key has no line; "" for dicts."""
        return f"{self.source}:{self.place.keys.get(name, self.place.line)}: " if self.source else ""

    def combinations(self) -> list[dict[str, Any]]:
        """Returns one dict for each combination of its axes."""
        axes = self._axes()
        if _count(axes) > MOST_HEADS:
            return []
        return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]

    def _axes(self) -> dict[str, list[Any]]:
        return {
            name: value if self.axes and isinstance(value, list) else [value] for name, value in self.values.items()
        }

    def problems(self) -> list[str]:
        """Returns the problems that need no bank: a missing kind, an axis without values, and so on."""
        problems = []
        kind = self.values.get("kind")
        if kind is None:
            problems.append(f"{self.at('kind')}'kind' is missing: expected the name of a head, as kind = \"softmax\"")
        elif not isinstance(kind, str):
            problems.append(
                f"{self.at('kind')}'kind' is {shown(kind)}: expected the name of one head, as kind = \"softmax\""
            )
        name = self.values.get("name", "a")
        if not (isinstance(name, str) and name.strip() and name.isprintable()):
            problems.append(
                f"{self.at('name')}'name' is {shown(name)}: expected at least one word, as name = \"model 7\""
            )
        if (heads := _count(self._axes())) > MOST_HEADS:
            problems.append(
                f"{self.at()}the block has {counted(heads, 'head')}: expected at most {MOST_HEADS}; shorten its lists"
            )
        for name, value in self.values.items():
            if self.axes and isinstance(value, list) and not value and name not in {"kind", "name"}:
                problems.append(
                    f"{self.at(name)}'{name}' is an empty list: expected at least one value, or leave it out"
                )
        return problems


Grid = str | Sequence[Mapping[str, Any] | GridBlock]
"""The name of a built-in grid, the path of a grid file, or specifications: dicts with `kind`, `tap` and parameters."""


def _count(axes: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(len(values) for values in axes.values())


def built_in_grids() -> dict[str, Path]:
    """Returns the files of the built-in grids by name."""
    return {path.stem: path for path in sorted(BUILT_IN.glob("*.toml"))}


def read_blocks(grid: Grid) -> tuple[list[GridBlock], list[str]]:
    """Returns the blocks of a grid, and the problems of the file outside the blocks.

    Raises:
        UnknownNameError: there is no such built-in grid.
        ConfigError: the file is missing or is not TOML.
    """
    if not isinstance(grid, str):
        return [block if isinstance(block, GridBlock) else GridBlock(block) for block in grid], []
    built_in = built_in_grids()
    if grid not in built_in and not grid.endswith(".toml"):
        raise unknown_name("grid", grid, built_in, "or the path of a .toml file")
    path = built_in.get(grid) or Path(grid)
    source = path.name if grid in built_in else grid
    text, value = read_toml(path, "grid file")
    places = find_places(text, "head")
    problems = [
        f"{source}:{places.top.get(key, 1)}: {unknown_name('key', key, ['head'], _ELSEWHERE)}"
        for key in value
        if key != "head"
    ]
    heads = value.get("head")
    if heads is None:
        return [], [*problems, f"{source}: 'head' is missing: expected [[head]] blocks, each with a kind"]
    if not (isinstance(heads, list) and heads and all(isinstance(head, dict) for head in heads)):
        line = places.top.get("head", 1)
        return [], [*problems, f"{source}:{line}: 'head' is {shown(heads)}: expected [[head]] blocks, each with a kind"]
    blocks = [GridBlock(head, True, source, place) for head, place in zip(heads, places.blocks, strict=True)]  # noqa: FBT003
    return blocks, problems


_ELSEWHERE = "seeds, folds and search are options of 'featurebank heads', or keys of a pipeline's [heads]"


def read_grid(grid: Grid) -> list[dict[str, Any]]:
    """Returns one dict for each head of a grid (`kind`, optionally `tap`, and parameters), not yet checked.

    Raises:
        UnknownNameError: there is no such built-in grid.
        ConfigError: the file cannot be read, or a block has no kind; the message has every problem.
    """
    blocks, problems = read_blocks(grid)
    problems += [problem for block in blocks for problem in block.problems()]
    if problems:
        raise ConfigError(problem_lines(problems))
    return [values for block in blocks for values in block.combinations()]
