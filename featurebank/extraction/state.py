"""What a bank has, as far as it decides what an extraction into it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.contents import BankContents, read_contents
from featurebank.bank.manifest import Manifest

NO_DIGESTS = np.empty(0, "S32")


@dataclass(frozen=True)
class BankState:
    """What a bank has now, or will have once a planned extraction is done."""

    recipe: Mapping[str, Any]
    taps: tuple[str, ...]
    """Those that every listed image has."""
    views: int
    types: Mapping[str, str | None]
    """The type on disk of each tap that has rows; None is the default of a tap whose shape is not known yet."""
    rows: Mapping[tuple[str, int], np.ndarray]
    """For each tap and view the digests of the images that have a row, (n,) "S32"."""
    bad: np.ndarray
    """The digests of the images that the last extraction could not decode, (n,) "S32"."""


def state_of(contents: BankContents) -> BankState:
    """Returns the state of a bank whose keys were read."""
    manifest = contents.manifest
    keys = {(tap, shard.view) for shard in manifest.shards for tap in shard.taps}
    bad = np.array([entry["digest"] for entry in manifest.skipped if "digest" in entry], "S32")
    return BankState(
        manifest.recipe, manifest.taps, manifest.views, {tap: contents.stored_dtype(tap) for tap, _ in keys},
        {key: contents.stored(*key) for key in keys}, bad,
    )  # fmt: skip


def read_state(path: Path, recipe: Mapping[str, Any]) -> BankState:
    """Reads the state of a bank; that of an empty one where there is none.

    Raises:
        ConfigError: the bank has another recipe.
        BankDamagedError: its manifest is damaged.
        BankUnreadableError: the system cannot read it.
    """
    return state_of(read_contents(path, Manifest(recipe=recipe, dataset={"name": path.parent.name, "classes": []})))
