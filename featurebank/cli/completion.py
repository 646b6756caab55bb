"""Shell completion of names: banks, runs and taps in the cache, and built-in grids, backbones, heads and datasets.

Completion imports neither TensorFlow, scikit-learn nor HDF5, because the shell waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from featurebank.cli.context import Settings

_PACKAGE = Path(__file__).resolve().parents[1]
_MANIFEST = "manifest.json"


def _banks(settings: Settings) -> list[str]:
    return [path.parent.name for path in settings.cache.glob(f"*/{_MANIFEST}")]


def _runs(settings: Settings) -> list[str]:
    return ["best", *(path.stem for path in settings.cache.glob("*/runs/[!.]*.json"))]


def _grids(settings: Settings) -> list[str]:
    return [path.stem for path in _PACKAGE.glob("**/*.toml")] + [str(path) for path in Path().glob("*.toml")]


def _taps(settings: Settings) -> list[str]:
    taps = ["pooled", "map"]
    for path in settings.cache.glob(f"*/{_MANIFEST}"):
        try:
            taps += json.loads(path.read_text(encoding="utf-8")).get("taps", [])
        except (OSError, ValueError, AttributeError, TypeError):  # damaged: other commands report it
            continue
    return taps


def _backbones(settings: Settings) -> list[str]:
    from featurebank.backbone import known_backbones
    from featurebank.backbone.naming import LIBRARY_WORDS

    return [*(spec.name for spec in known_backbones()), *(f"{library}:" for library in LIBRARY_WORDS)]


def _heads(settings: Settings) -> list[str]:
    from featurebank.heads.catalog import HEADS

    return list(HEADS)


def _metrics(settings: Settings) -> list[str]:
    from featurebank.metrics import METRICS

    return list(METRICS)


def _datasets(settings: Settings) -> list[str]:
    from featurebank.dataset import dataset_kinds

    return dataset_kinds()


_NAMES: Mapping[str, Callable[[Settings], Iterable[str]]] = {
    "bank": _banks, "banks": _banks, "than": _banks, "run": _runs, "names": _runs, "start": _runs, "grid": _grids,
    "taps": _taps, "tap": _taps, "backbones": _backbones, "network": _backbones, "head": _heads, "listed": _heads,
    "metric": _metrics, "dataset": _datasets, "folder": _datasets, "test_dataset": _datasets,
}  # fmt: skip
"""Maps the name of a parameter to the function that returns its possible values."""
_OR_PATHS = ("backbones", "network", "dataset", "folder", "test_dataset")
"""Parameters that also accept a path, which the shell itself completes."""


def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names that start with the incomplete word, and for some parameters a request to complete paths."""
    names = _NAMES[parameter.name or ""](context.find_object(Settings) or Settings())
    # Paths come first: click's bash script drops all names before this item, and completes paths if no name follows.
    paths = [CompletionItem(incomplete, type="file")] if parameter.name in _OR_PATHS else []
    return [*paths, *(CompletionItem(name) for name in sorted(set(names)) if name.startswith(incomplete))]


def completes(parameter: click.Parameter) -> bool:
    """Returns whether this module can complete a parameter."""
    return parameter.name in _NAMES
