"""Which rows a bank has: what its manifest lists, without the shards that are missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featurebank.bank.manifest import Manifest, load_manifest
from featurebank.bank.pages.shard_pages import RowDigests, ShardPage
from featurebank.bank.shard import ShardEntry, check_size, read_keys
from featurebank.errors import BankDamagedError, BankNotFoundError, ConfigError


@dataclass(frozen=True)
class BankContents:
    """A bank's manifest and the digests of its rows; no feature is read."""

    manifest: Manifest
    """With whole shards alone."""
    digests: Mapping[str, np.ndarray]
    """The digests of the rows of each shard, (rows,) "S32", by the name of its file; those in pages are mapped."""
    lost: tuple[str, ...] = ()
    """One line for each listed shard that is missing or damaged; its rows count as not there."""

    def stored(self, tap: str, view: int = 0) -> np.ndarray:
        """Returns the digests of the images whose row a tap has in a view: (n,) "S32"."""
        digests = [
            self.digests[shard.file] for shard in self.manifest.shards if tap in shard.taps and shard.view == view
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
    pages, digests, lost = _Pages(path, manifest.pages), dict[str, np.ndarray](), list[str]()
    for shard in manifest.shards:
        try:
            digests[shard.file] = pages.digests_of(shard)
        except BankDamagedError as error:
            lost.append(str(error))
    shards = tuple(shard for shard in manifest.shards if shard.file in digests)
    whole = replace(manifest, shards=shards, pages=pages.whole)
    return BankContents(whole, digests, tuple(lost))


class _Pages:
    """The pages of a bank that is going to be written: a damaged one is not used, and is written again."""

    def __init__(self, path: Path, pages: Sequence[ShardPage]) -> None:
        self._path, self.whole = path, tuple(pages)
        self._digests = RowDigests(path, pages)

    def digests_of(self, shard: ShardEntry) -> np.ndarray:
        """Returns the digests of a shard's rows; raises BankDamagedError if the shard is missing or damaged."""
        try:
            digests = self._digests.in_page(shard)
        except BankDamagedError:
            self.whole = tuple(page for page in self.whole if shard not in page.shards)
            self._digests = RowDigests(self._path, self.whole)
            digests = None
        if digests is None:
            return np.ascontiguousarray(read_keys(self._path, shard)["digest"])
        check_size(self._path, shard)
        return digests
