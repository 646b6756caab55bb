"""The output of `featurebank heads --list`: the kinds of heads, and the parameters of one kind."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict
from typing import Any

from featurebank.cli.terminal import echo, echo_lines, print_json

_WIDEST = 110


def print_kinds(*, as_json: bool) -> None:
    """Prints the kinds of heads with their input (vectors or maps) and a description."""
    from featurebank.cli.tables import print_table
    from featurebank.heads.catalog import HEADS

    kinds = list(HEADS.values())
    if as_json:
        print_json([{"name": kind.name, "what": kind.what, "needs": kind.needs} for kind in kinds])
        return
    print_table(("kind", "needs", "what"), [(kind.name, kind.needs, kind.what) for kind in kinds])
    echo()
    echo_lines(
        "The parameters of one kind:       featurebank heads --list mlp\n"
        "of a classifier by import path:   featurebank heads --list sklearn.svm:LinearSVC\n"
        "A kind that needs vectors also takes a map, which it flattens: --tap map."
    )


def print_parameters(name: str, *, as_json: bool) -> None:
    """Prints the parameters of a kind of head with their defaults and meanings."""
    from featurebank.heads.catalog import kind_of
    from featurebank.heads.lookup import list_parameters

    kind = kind_of(name)
    needs, parameters = kind.needs, list_parameters(kind)
    if as_json:
        values = [{**asdict(parameter), "default": _plain(parameter.default)} for parameter in parameters]
        print_json({"name": name, "what": kind.what, "needs": needs, "parameters": values})
        return
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    echo(f"{name}: {kind.what}. Needs {needs}.")
    echo()
    for parameter in parameters:
        echo(f"{parameter.name} = {json.dumps(_plain(parameter.default))}")
        if parameter.meaning:
            echo_lines(textwrap.fill(parameter.meaning, width, initial_indent="    ", subsequent_indent="    "))
    numbers = [p for p in parameters if isinstance(p.default, int | float) and not isinstance(p.default, bool)]
    if numbers:
        echo()
        echo(f"Example: featurebank heads --head {name} -p {numbers[0].name}={numbers[0].default}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
