"""The state of a bank as an extraction into it needs it: which rows exist, in which dtype, and which images are bad."""

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
    """What a bank holds now, or will hold after a planned extraction."""

    recipe: Mapping[str, Any]
    taps: tuple[str, ...]
    """The taps that are stored for every image."""
    views: int
    """The number of augmented views that are stored for every image."""
    dtypes: Mapping[str, str | None]
    """The dtype on disk of each tap that has rows; None means `default_dtype` of a shape that is not known yet."""
    rows: Mapping[tuple[str, int], np.ndarray]
    """For each tap and view, the content digests of the images that have a row: (n,) "S32"."""
    bad: np.ndarray
    """The content digests of the images that the last extraction could not decode: (n,) "S32"."""


def state_of(contents: BankContents) -> BankState:
    """Returns the state of a bank from its manifest and the keys of its rows."""
    manifest = contents.manifest
    keys = {(tap, shard.view) for shard in manifest.shards for tap in shard.taps}
    bad = np.array([entry["digest"] for entry in manifest.skipped if "digest" in entry], "S32")
    return BankState(
        manifest.recipe, manifest.taps, manifest.views, {tap: contents.stored_dtype(tap) for tap, _ in keys},
        {key: contents.stored(*key) for key in keys}, bad,
    )  # fmt: skip


def read_state(path: Path, recipe: Mapping[str, Any]) -> BankState:
    """Reads the state of a bank; returns an empty state if there is no bank.

    Raises:
        ConfigError: the bank has another recipe.
        BankDamagedError: its manifest is damaged.
        BankUnreadableError: the system cannot read it.
    """
    return state_of(read_contents(path, Manifest(recipe=recipe, dataset={"name": path.parent.name, "classes": []})))
