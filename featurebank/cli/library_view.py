"""The networks of a library on the terminal."""

from __future__ import annotations

from featurebank.backbone.libraries import find_networks
from featurebank.cli.tables import console, print_table
from featurebank.cli.terminal import echo, print_json
from featurebank.system.progress import step
from featurebank.words import counted

_ROOM = 100
"""The width from which all names of weights are shown; below, the default ones."""


def print_entries(source: str, pattern: str, *, as_json: bool) -> None:
    """Prints the networks of a library whose names match a pattern.

    Args:
        source: the word for the library, as "timm".
        pattern: with "*" for any characters.
        as_json: as a list of objects.

    Raises:
        MissingDependencyError: a package is not installed.
        ConfigError: the networks of the library cannot be listed here.
        UnknownNameError: no name matches.
    """
    with step(f"reading the names of {source}"):
        entries = find_networks(source, pattern)
    if as_json:
        print_json([{"name": one.name, "weights": list(one.weights), "note": one.note} for one in entries])
        return
    wide = console().width >= _ROOM
    rows = [(one.name, ", ".join(one.weights if wide else one.weights[:1]) or "none", one.note) for one in entries]
    print_table(("name", "weights, the default first" if wide else "default weights", "input"), rows, whole=("name",))
    echo(f"{counted(len(entries), 'network')}; the cuts of one: featurebank backbones {entries[0].name}")
