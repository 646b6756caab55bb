"""Taking rows from other banks of the cache that were made by the same recipe, instead of computing them again.

Where a folder was moved, where a part of a dataset is a dataset of its own, or where views are added to a bank without
any, all rows are there already: under another name. Shards never change once written, so the file itself is shared by
a hard link, and takes no space twice; where the disk has no links it is copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from featurebank import digest
from featurebank.bank.index import contained
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.shard import ShardEntry, read_keys
from featurebank.bank.writer import BankWriter, default_dtype, event
from featurebank.errors import BankDamagedError, BankError
from featurebank.files import atomic_path

Wanted = Mapping[tuple[str, int], np.ndarray]
"""For each tap and view the digests of the images that lack a row, (n,) "S32"."""


@dataclass
class Adopted:
    """What was taken from one bank."""

    name: str
    entries: list[ShardEntry] = field(default_factory=list)
    keys: list[np.ndarray] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows the shards have."""
        return sum(entry.rows for entry in self.entries)


def adopt_rows(writer: BankWriter, wanted: Wanted, dtypes: Mapping[str, str | None]) -> list[Adopted]:
    """Lists in a bank the shards of its neighbours that hold rows which it lacks.

    Args:
        writer: of the bank that lacks them.
        wanted: which these are.
        dtypes: the type that each tap is to be stored in; None is `default_dtype`'s.

    Returns:
        What was taken from each bank, none that gave nothing.
    """
    left = {key: digests for key, digests in wanted.items() if len(digests)}
    found = []
    for path, manifest, clean_only in _neighbours(writer):
        adopted = Adopted(path.name)
        for shard in manifest.shards:
            if left and not (clean_only and shard.view) and _fits(shard, writer, dtypes):
                _take(path, shard, writer.path, left, adopted)
        if adopted.entries:
            writer.adopt(adopted.entries, adopted.keys, event(linked=adopted.rows, source=path.name))
            found.append(adopted)
    return found


def share(source: Path, target: Path, shard: ShardEntry) -> bool:
    """Puts a shard of one bank into the directory of another; False where it is damaged or gone.

    Raises:
        DiskFullError: no space is left for a copy.
    """
    place = target / shard.file
    try:
        if digest.of_file(source / shard.file) != shard.checksum:
            return False
        with atomic_path(place) as temporary:
            try:
                os.link(source / shard.file, temporary)
            except (OSError, NotImplementedError):
                shutil.copyfile(source / shard.file, temporary)
    except FileNotFoundError:
        return False
    return True


def _neighbours(writer: BankWriter) -> Iterator[tuple[Path, Manifest, bool]]:
    """Yields the banks whose rows are ours too, and whether that holds for clean images alone."""
    recipe = dict(writer.manifest.recipe)
    for path in sorted(writer.path.parent.glob(f"*/{MANIFEST}")):
        if path.parent == writer.path:
            continue
        with contextlib.suppress(BankError, OSError):
            manifest = load_manifest(path.parent)
            if manifest.key == writer.manifest.key:
                yield path.parent, manifest, False
            elif {**manifest.recipe, "views": None} == {**recipe, "views": None}:
                yield path.parent, manifest, True


def _fits(shard: ShardEntry, writer: BankWriter, dtypes: Mapping[str, str | None]) -> bool:
    return all(
        stored.dtype == (writer.stored_dtype(tap) or dtypes.get(tap) or default_dtype(stored.shape))
        for tap, stored in shard.taps.items()
    )


def _take(source: Path, shard: ShardEntry, target: Path, left: dict[tuple[str, int], np.ndarray], to: Adopted) -> None:
    taps = [tap for tap in shard.taps if (tap, shard.view) in left]
    if not taps:
        return
    try:
        keys = read_keys(source, shard)
    except BankDamagedError:
        return
    there = {tap: contained(left[tap, shard.view], keys["digest"]) for tap in taps}
    if not any(mask.any() for mask in there.values()) or not share(source, target, shard):
        return
    to.entries.append(shard)
    to.keys.append(keys)
    for tap, mask in there.items():
        left[tap, shard.view] = left[tap, shard.view][~mask]
        if not len(left[tap, shard.view]):
            del left[tap, shard.view]
