"""Names that a shell completes: banks, runs and taps of the cache, and grids; nothing heavy is imported for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from featurebank.cli.settings import Settings

_PACKAGE = Path(__file__).resolve().parents[1]
_MANIFEST = "manifest.json"


def _banks(settings: Settings) -> list[str]:
    return [path.parent.name for path in settings.cache.glob(f"*/{_MANIFEST}")]


def _runs(settings: Settings) -> list[str]:
    return ["best", *(path.stem for path in settings.cache.glob("*/runs/*.json"))]


def _grids(settings: Settings) -> list[str]:
    return [path.stem for path in _PACKAGE.glob("**/*.toml")] + [str(path) for path in Path().glob("*.toml")]


def _taps(settings: Settings) -> list[str]:
    found = ["pooled", "map"]
    for path in settings.cache.glob(f"*/{_MANIFEST}"):
        try:
            found += json.loads(path.read_text(encoding="utf-8")).get("taps", [])
        except (OSError, ValueError, AttributeError, TypeError):  # damaged: other commands say so
            continue
    return found


_NAMES: Mapping[str, Callable[[Settings], Iterable[str]]] = {
    "bank": _banks, "banks": _banks, "than": _banks, "run": _runs, "start": _runs, "grid": _grids, "taps": _taps,
    "tap": _taps,
}  # fmt: skip
"""By the name of a parameter."""


def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names that begin as what was typed."""
    names = _NAMES[parameter.name or ""](context.find_object(Settings) or Settings())
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(incomplete)]


def completes(parameter: click.Parameter) -> bool:
    """Tells whether names are known for a parameter."""
    return parameter.name in _NAMES
