"""Draws what the workers of a cluster did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurebank.cli.terminal import echo
from featurebank.words import counted

_SHOWN = 20
"""Maximum number of workers that are listed."""


def print_workers(workers: Sequence[Mapping[str, Any]]) -> None:
    """Prints a table of workers, those with most images first; nothing if there are none."""
    from featurebank.cli.tables import print_table

    if not workers:
        return
    ordered = sorted(workers, key=lambda one: -one["images"])
    rows = [
        [
            one["worker"] or "-", one["host"], str(one["images"]), f"{one['images_per_second']:.1f}",
            f"{one['waited']:.0%}", one["engine"] or "-",
        ]
        for one in ordered[:_SHOWN]
    ]  # fmt: skip
    numbers = ["images", "images/s", "waited"]
    print_table(["worker", "host", *numbers, "engine"], rows, right=numbers)
    if len(workers) > _SHOWN:
        echo(f"  and {counted(len(workers) - _SHOWN, 'more worker')}, listed by --json")


def workers_json(workers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the entry `workers` of a command's JSON; an empty dictionary if there are none."""
    numbers = ("images_per_second", "waited")
    return {"workers": [{**one, **{key: round(one[key], 3) for key in numbers}} for one in workers]} if workers else {}
