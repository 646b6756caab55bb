"""Shares rows with other banks of the cache that have the same recipe, instead of computing them again.

If a folder was moved, if a part of a dataset is a dataset itself, or if views are added to a bank without any, the rows
already exist under another name. Shards never change once they are written, so the file itself is shared by a hard
link and takes no extra space; on a disk without hard links it is copied.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.index import contained
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.pages.shard_pages import RowDigests
from featurebank.bank.pieces.waiting_rows import default_dtype
from featurebank.bank.shard import ShardEntry, is_whole, read_keys
from featurebank.bank.writer import BankWriter, event
from featurebank.errors import BankDamagedError, BankError, BankUnreadableError
from featurebank.system.backing.directories import find, link_or_copy

MissingRows = Mapping[tuple[str, int], np.ndarray]
"""For each tap and view, the digests of the images that lack a row, (n,) "S32"."""


@dataclass(frozen=True)
class ShareableShard:
    """A shard of another bank that has missing rows."""

    bank: Path
    shard: ShardEntry
    keys: np.ndarray


@dataclass(frozen=True)
class SharedRows:
    """The rows shared by one bank."""

    name: str
    rows: int


def share_rows(writer: BankWriter, shards: Iterable[ShareableShard]) -> list[SharedRows]:
    """Lists shards of other banks in a bank.

    Args:
        writer: writer of the bank that lacks their rows.
        shards: the shards of `find_rows`.

    Returns:
        The number of rows shared by each bank; a shard that was deleted meanwhile is skipped.
    """
    shared = []
    for bank, group in itertools.groupby(shards, key=lambda one: one.bank):
        linked_shards = [one for one in group if _link(bank, writer.path, one.shard)]
        if linked_shards:
            rows = sum(one.shard.rows for one in linked_shards)
            linked = event(linked=rows, source=bank.name)
            writer.adopt([one.shard for one in linked_shards], [one.keys for one in linked_shards], linked)
            shared.append(SharedRows(bank.name, rows))
    return shared


def find_rows(
    path: Path,
    recipe: Mapping[str, Any],
    missing_rows: MissingRows,
    dtypes: Mapping[str, str | None],
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[list[ShareableShard], dict[tuple[str, int], np.ndarray]]:
    """Finds the intact shards of a bank's neighbours that hold its missing rows; changes nothing.

    Args:
        path: the bank's directory, which need not exist.
        recipe: the bank's recipe.
        missing_rows: the missing rows.
        dtypes: the dtype that each tap is or will be stored in; None means `default_dtype`.
        warn: callback that receives a line for each bank that the system cannot read.

    Returns:
        The shards, bank by bank, and the rows that no bank has.
    """
    left = {key: digests for key, digests in missing_rows.items() if len(digests)}
    whole = []
    for bank, manifest in _neighbours(path, recipe):
        try:
            digests_of = RowDigests(bank, manifest.pages)
            for shard in manifest.shards:
                missing = {tap: left[tap, shard.view] for tap in shard.taps if (tap, shard.view) in left}
                if missing and may_share(manifest.recipe, recipe, shard.view) and _fits(shard, dtypes):
                    with contextlib.suppress(BankDamagedError):
                        digests = digests_of(shard)
                        still = {tap: rows[~contained(rows, digests)] for tap, rows in missing.items()}
                        if any(len(still[tap]) < len(missing[tap]) for tap in still) and is_whole(bank, shard):
                            whole.append(ShareableShard(bank, shard, read_keys(bank, shard)))
                            left |= {(tap, shard.view): rows for tap, rows in still.items()}
                            left = {key: digests for key, digests in left.items() if len(digests)}
        except BankUnreadableError as error:  # it belongs to another bank, which this one does not need
            warn(f"no more rows are shared with '{bank.name}': {error}")
    return whole, left


def may_share(theirs: Mapping[str, Any], mine: Mapping[str, Any], view: int) -> bool:
    """Returns whether two recipes have the same rows in a view; for clean images, the augmentation does not matter."""
    same = {**theirs, "views": None} == {**mine, "views": None}
    return same and (view == 0 or theirs.get("views") == mine.get("views"))


def share(source: Path, target: Path, shard: ShardEntry) -> bool:
    """Links a shard of one bank into the directory of another; returns False if it is damaged or gone.

    Raises:
        BankUnreadableError: the system cannot read it.
        DiskFullError: no space is left on the disk for a copy.
    """
    return is_whole(source, shard) and _link(source, target, shard)


def _link(source: Path, target: Path, shard: ShardEntry) -> bool:
    """Puts a shard into another directory, by a hard link where the disk has those; False where it has gone."""
    try:
        link_or_copy(source / shard.file, target / shard.file)
    except FileNotFoundError:
        return False
    return True


def _neighbours(path: Path, recipe: Mapping[str, Any]) -> Iterator[tuple[Path, Manifest]]:
    """Yields the banks whose clean rows at least are ours, too."""
    for place in find(path.parent, f"*/{MANIFEST}"):
        if place.parent == path:
            continue
        with contextlib.suppress(BankError, OSError):
            manifest = load_manifest(place.parent)
            if may_share(manifest.recipe, recipe, 0):
                yield place.parent, manifest


def _fits(shard: ShardEntry, dtypes: Mapping[str, str | None]) -> bool:
    return all(stored.dtype == (dtypes.get(tap) or default_dtype(stored.shape)) for tap, stored in shard.taps.items())
