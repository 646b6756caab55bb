"""Outlines of networks in the cache.

An outline needs the built network, which takes seconds and a large library. So it is kept in a small file for each
architecture and image size; they do not depend on the weights. A file that is missing, damaged or of another network is
created again. It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from featurebank.backbone.network import Backbone
from featurebank.backbone.outline import CutPoint, Outline, TokenLayout
from featurebank.system import digest
from featurebank.system.runtime import installed_versions
from featurebank.system.sealed_json import read_sealed, write_sealed

DIRECTORY = ".outlines"
"""Directory of the files inside the cache."""

_FORMAT = "featurebank.outline.4"


def outline_of(backbone: Backbone, cache: Path) -> Outline:
    """Returns the outline of a backbone, from the cache if it is there; otherwise builds the network.

    Args:
        backbone: the network.
        cache: directory of the cache.

    Raises:
        WeightsError: the weights are missing, unreadable or of another network.
    """
    path, about = _place(backbone, cache)
    if (known := _load(path, about)) is not None:
        return known
    outline = backbone.outline()
    with contextlib.suppress(OSError):  # the cache is full or read-only: the next run builds the network again
        write_sealed(path, {"about": about, **_plain(outline)})
    return outline


def check_taps(backbone: Backbone, taps: Sequence[str], cache: Path) -> None:
    """Checks that the layers of taps exist, if the outline is in the cache; never builds the network.

    Raises:
        ConfigError: a tap is malformed.
        UnknownNameError: no layer has this name.
    """
    if (known := _load(*_place(backbone, cache))) is not None:
        for tap in taps:
            known.tap_shape(tap, backbone.spec.layers_hint)


def _place(backbone: Backbone, cache: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the path of an outline, and the identification that the file must hold."""
    recipe = {"architecture": backbone.spec.identity, "image_size": backbone.image_size}
    # A library decides the layer names of its own networks, and may change them with its version.
    about = {"format": _FORMAT, **recipe, **installed_versions(*backbone.libraries)}
    return cache / DIRECTORY / f"{digest.of_recipe(recipe)[:16]}.outline", about


def _plain(outline: Outline) -> dict[str, Any]:
    """Returns an outline as a JSON object."""
    return {
        "cuts": [asdict(cut) | {"shape": list(cut.shape)} for cut in outline.cuts],
        "shapes": {name: list(shape) for name, shape in outline.shapes.items()},
        "tokens": _plain_tokens(outline.tokens) if outline.tokens else None,
        "multiply_adds": outline.multiply_adds,
    }


def _load(path: Path, about: dict[str, Any]) -> Outline | None:
    """Reads an outline; returns None if the file is missing or not valid."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        value = read_sealed(path)
        cuts = tuple(CutPoint(**{**cut, "shape": tuple(cut["shape"])}) for cut in value["cuts"])
        tokens = value["tokens"] and TokenLayout(**{**value["tokens"], "grid": _pair(value["tokens"]["grid"])})
        shapes = {name: tuple(shape) for name, shape in value["shapes"].items()}
        outline = Outline(cuts, shapes, tokens, value["multiply_adds"])
        if value == {"about": about, **_plain(outline)}:
            return outline
    return None


def _plain_tokens(tokens: TokenLayout) -> dict[str, Any]:
    return asdict(tokens) | {"grid": list(tokens.grid) if tokens.grid else None}


def _pair(grid: Any) -> tuple[int, int] | None:
    return (grid[0], grid[1]) if grid else None
