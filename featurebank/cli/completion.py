"""Names that a shell completes: what the cache holds, and what featurebank knows by name.

None of them needs TensorFlow, scikit-learn or HDF5: a shell waits for them.
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


def _backbones(settings: Settings) -> list[str]:
    from featurebank.backbone import list_backbones

    return [spec.name for spec in list_backbones()]


def _heads(settings: Settings) -> list[str]:
    from featurebank.heads.catalog import HEADS

    return list(HEADS)


def _datasets(settings: Settings) -> list[str]:
    from featurebank.dataset import dataset_kinds

    return dataset_kinds()


_NAMES: Mapping[str, Callable[[Settings], Iterable[str]]] = {
    "bank": _banks, "banks": _banks, "than": _banks, "run": _runs, "start": _runs, "grid": _grids, "taps": _taps,
    "tap": _taps, "backbones": _backbones, "network": _backbones, "head": _heads, "listed": _heads,
    "dataset": _datasets, "folder": _datasets, "test_dataset": _datasets,
}  # fmt: skip
"""By the name of a parameter."""
_OR_PATHS = ("backbones", "network", "dataset", "folder", "test_dataset")
"""Parameters that take a path as well, which the shell itself completes."""


def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the names that begin as what was typed, and a request for paths where these are taken too."""
    names = _NAMES[parameter.name or ""](context.find_object(Settings) or Settings())
    # First: on it, click's script for bash forgets the names before it, and completes paths where no name is left.
    paths = [CompletionItem(incomplete, type="file")] if parameter.name in _OR_PATHS else []
    return [*paths, *(CompletionItem(name) for name in sorted(set(names)) if name.startswith(incomplete))]


def completes(parameter: click.Parameter) -> bool:
    """Tells whether names are known for a parameter."""
    return parameter.name in _NAMES
