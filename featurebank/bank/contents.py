"""Which rows a bank has: what its manifest lists, without the shards that are missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featurebank.bank.manifest import Manifest, load_manifest
from featurebank.bank.shard import read_keys
from featurebank.errors import BankDamagedError, BankNotFoundError, ConfigError


@dataclass(frozen=True)
class BankContents:
    """A bank's manifest and the keys of its rows; no feature is read."""

    manifest: Manifest
    """With whole shards alone."""
    keys: Mapping[str, np.ndarray]
    """The row keys of each shard, by the name of its file."""
    lost: tuple[str, ...] = ()
    """One line for each listed shard that is missing or damaged; its rows count as not there."""

    def stored(self, tap: str, view: int = 0) -> np.ndarray:
        """Returns the digests of the images whose row a tap has in a view: (n,) "S32"."""
        digests = [
            self.keys[shard.file]["digest"]
            for shard in self.manifest.shards
            if tap in shard.taps and shard.view == view
        ]
        return np.concatenate([np.empty(0, "S32"), *digests])

    def stored_dtype(self, tap: str) -> str | None:
        """Returns the type a tap is stored in, or None where it has no rows yet."""
        return next((shard.taps[tap].dtype for shard in self.manifest.shards if tap in shard.taps), None)


def read_contents(path: Path, fresh: Manifest) -> BankContents:
    """Reads which rows a bank has.

    Args:
        path: the bank's directory.
        fresh: what its manifest is where there is no bank yet.

    Raises:
        ConfigError: the bank has another recipe.
        BankDamagedError: its manifest is damaged.
        BankUnreadableError: the system cannot read it.
    """
    try:
        manifest = load_manifest(path)
    except BankNotFoundError:
        return BankContents(fresh, {})
    if manifest.key != fresh.key:
        message = f"'{path}' holds features of another recipe: choose another --cache"
        raise ConfigError(message)
    keys: dict[str, np.ndarray] = {}
    lost = []
    for shard in manifest.shards:
        try:
            keys[shard.file] = read_keys(path, shard)
        except BankDamagedError as error:
            lost.append(str(error))
    return BankContents(
        replace(manifest, shards=tuple(s for s in manifest.shards if s.file in keys)), keys, tuple(lost)
    )
