"""The code of a tutorial in the process of a test: as a kernel would run it, without a kernel."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

COMMAND = re.compile(r"^( *)!featurebank (.*)$", re.MULTILINE)


def run_cells(
    codes: Sequence[str], parameters: Mapping[str, Any], tagged: int | None, command: Callable[[str], str]
) -> dict[str, Any]:
    """Runs cells one after another and displays the value of each, as a notebook does.

    Args:
        codes: the code of each cell. A line `!featurebank ...` is a command; `{name}` in it is a variable.
        parameters: values that are set after the cell of parameters.
        tagged: the place of that cell.
        command: runs the words of a command, and returns what it prints.

    Returns:
        The variables.
    """
    names: dict[str, Any] = {"__name__": "__main__", "_command": lambda words: command(words.format(**names))}
    for place, code in enumerate(codes):
        body = ast.parse(COMMAND.sub(lambda line: f"{line[1]}_command({line[2]!r})", code)).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), f"cell {place + 1}", "exec"), names)
        if last is not None:
            display(eval(compile(ast.Expression(last.value), f"cell {place + 1}", "eval"), names))
        if place == tagged:
            names.update(parameters)
    return names


def display(value: Any) -> None:
    """Computes what a notebook shows of a value; an error ends the test."""
    for name in ("_repr_mimebundle_", "_repr_html_", "_repr_png_", "__repr__"):
        if hasattr(value, name):
            getattr(value, name)()
            return
