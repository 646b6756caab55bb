"""The output of `featurebank heads --list`: the kinds of heads, and the parameters of one kind."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from featurebank.cli.terminal import echo, echo_lines, print_json

if TYPE_CHECKING:
    from featurebank.heads.kinds import HeadKind

_WIDEST = 110


def print_kinds(*, as_json: bool) -> None:
    """Prints the kinds of heads with their input (vectors or maps) and a description."""
    from featurebank.cli.tables import print_table
    from featurebank.heads.catalog import HEADS

    kinds = list(HEADS.values())
    if as_json:
        print_json([{"name": kind.name, "what": kind.what, "needs": kind.needs, **_traits(kind)} for kind in kinds])
        return
    print_table(("kind", "needs", "what"), [(kind.name, kind.needs, kind.what) for kind in kinds])
    echo()
    echo_lines(
        "The parameters of one kind:       featurebank heads --list mlp\n"
        "of a classifier by import path:   featurebank heads --list sklearn.svm:LinearSVC\n"
        "A kind that needs vectors also takes a map, which it flattens: --tap map."
    )
    echo()
    echo_lines("Defaults that differ from scikit-learn's, with scikit-learn's in parentheses:")
    echo_lines("\n".join(line for kind in kinds if (line := _differences(kind))))
    unweighted = ", ".join(kind.name for kind in kinds if not kind.weights_images)
    echo()
    echo_lines(f"In Python, fit takes sample_weight; only these kinds do not: {unweighted}.")


def print_parameters(name: str, *, as_json: bool) -> None:
    """Prints the parameters of a kind of head with their defaults and meanings."""
    from featurebank.heads.catalog import kind_of
    from featurebank.heads.lookup import list_parameters

    kind = kind_of(name)
    needs, parameters = kind.needs, list_parameters(kind)
    if as_json:
        values = [{**asdict(parameter), "default": _plain(parameter.default)} for parameter in parameters]
        about = {"name": name, "what": kind.what, "needs": needs, **_traits(kind)}
        print_json({**about, "parameters": values})
        return
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    echo(f"{name}: {kind.what}. Needs {needs}.")
    echo()
    theirs = kind.differing_defaults()
    for parameter in parameters:
        other = f"  ({kind.counterpart_name}: {_value(theirs[parameter.name][1])})" if parameter.name in theirs else ""
        echo(f"{parameter.name} = {_value(parameter.default)}{other}")
        if parameter.meaning:
            echo_lines(textwrap.fill(parameter.meaning, width, initial_indent="    ", subsequent_indent="    "))
    numbers = [p for p in parameters if isinstance(p.default, int | float) and not isinstance(p.default, bool)]
    if numbers:
        echo()
        echo(f"Example: featurebank heads --head {name} -p {numbers[0].name}={numbers[0].default}")


def _traits(kind: HeadKind) -> dict[str, Any]:
    """Returns whether heads of a kind weight images, and the defaults that differ from its counterpart's, for JSON."""
    differing = {
        name: dict(zip(("default", "theirs"), map(_plain, values), strict=True))
        for name, values in kind.differing_defaults().items()
    }
    counterpart = kind.counterpart or (None if kind.own else kind.target)
    return {"weights_images": kind.weights_images, "counterpart": counterpart, "differing_defaults": differing}


def _differences(kind: HeadKind) -> str:
    """Returns a line with the differing defaults of a kind; empty if there are none."""
    parts = [
        f"{name} = {_value(ours)} ({_value(theirs)})" for name, (ours, theirs) in kind.differing_defaults().items()
    ]
    return f"  {kind.name}: {', '.join(parts)}" if parts else ""


def _value(value: Any) -> str:
    return json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
