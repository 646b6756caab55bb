"""Taking rows from other banks of the cache that were made by the same recipe, instead of computing them again.

Where a folder was moved, where a part of a dataset is a dataset of its own, or where views are added to a bank without
any, all rows are there already: under another name. Shards never change once written, so the file itself is shared by
a hard link, and takes no space twice; where the disk has no links it is copied.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.index import contained
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.shard import ShardEntry, is_whole, read_keys
from featurebank.bank.writer import BankWriter, default_dtype, event
from featurebank.errors import BankDamagedError, BankError, BankUnreadableError
from featurebank.system.files import atomic_path

Wanted = Mapping[tuple[str, int], np.ndarray]
"""For each tap and view the digests of the images that lack a row, (n,) "S32"."""


@dataclass(frozen=True)
class Found:
    """A shard of another bank that has rows which are wanted."""

    bank: Path
    shard: ShardEntry
    keys: np.ndarray


@dataclass(frozen=True)
class Adopted:
    """What was taken from one bank."""

    name: str
    rows: int


def adopt_rows(
    writer: BankWriter,
    wanted: Wanted,
    dtypes: Mapping[str, str | None],
    warn: Callable[[str], None] = lambda line: None,
) -> list[Adopted]:
    """Lists in a bank the shards of its neighbours that hold rows which it lacks.

    Args:
        writer: of the bank that lacks them.
        wanted: which these are.
        dtypes: the type that each tap is to be stored in; None is `default_dtype`'s.
        warn: called with a line for each bank that the system cannot read.

    Returns:
        What was taken from each bank, none that gave nothing.
    """
    types = {tap: writer.stored_dtype(tap) or dtypes.get(tap) for tap, _ in wanted}
    found, _ = find_rows(writer.path, writer.manifest.recipe, wanted, types, warn)
    adopted = []
    for bank, group in itertools.groupby(found, key=lambda one: one.bank):
        taken = [one for one in group if share(bank, writer.path, one.shard)]
        if taken:
            rows = sum(one.shard.rows for one in taken)
            done = event(linked=rows, source=bank.name)
            writer.adopt([one.shard for one in taken], [one.keys for one in taken], done)
            adopted.append(Adopted(bank.name, rows))
    return adopted


def find_rows(
    path: Path,
    recipe: Mapping[str, Any],
    wanted: Wanted,
    dtypes: Mapping[str, str | None],
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[list[Found], dict[tuple[str, int], np.ndarray]]:
    """Looks which shards of a bank's neighbours have rows that it lacks, and changes nothing.

    Args:
        path: of the bank, whether it is there or not.
        recipe: of the bank.
        wanted: what it lacks.
        dtypes: the type that each tap is or will be stored in; None is `default_dtype`'s.
        warn: called with a line for each bank that the system cannot read.

    Returns:
        The shards, bank by bank, and what no bank has.
    """
    left = {key: digests for key, digests in wanted.items() if len(digests)}
    found = []
    for bank, manifest, clean_only in _neighbours(path, recipe):
        try:
            for shard in manifest.shards:
                taps = [tap for tap in shard.taps if (tap, shard.view) in left]
                if taps and not (clean_only and shard.view) and _fits(shard, dtypes):
                    with contextlib.suppress(BankDamagedError):
                        keys = read_keys(bank, shard)
                        if _take(taps, shard.view, keys["digest"], left):
                            found.append(Found(bank, shard, keys))
        except BankUnreadableError as error:  # it is another bank's, which this one does not need
            warn(f"no more rows are shared with '{bank.name}': {error}")
    return found, left


def share(source: Path, target: Path, shard: ShardEntry) -> bool:
    """Puts a shard of one bank into the directory of another; False where it is damaged or gone.

    Raises:
        BankUnreadableError: the system cannot read it.
        DiskFullError: no space is left for a copy.
    """
    place = target / shard.file
    if not is_whole(source, shard):
        return False
    try:
        with atomic_path(place) as temporary:
            try:
                os.link((source / shard.file).resolve(), temporary)  # never a link to a link, which may be relative
            except (OSError, NotImplementedError):
                shutil.copyfile(source / shard.file, temporary)
    except FileNotFoundError:
        return False
    return True


def _neighbours(path: Path, recipe: Mapping[str, Any]) -> Iterator[tuple[Path, Manifest, bool]]:
    """Yields the banks whose rows are ours too, and whether that holds for clean images alone."""
    for place in sorted(path.parent.glob(f"*/{MANIFEST}")):
        if place.parent == path:
            continue
        with contextlib.suppress(BankError, OSError):
            manifest = load_manifest(place.parent)
            if {**manifest.recipe, "views": None} == {**recipe, "views": None}:
                yield place.parent, manifest, manifest.recipe.get("views") != recipe.get("views")


def _fits(shard: ShardEntry, dtypes: Mapping[str, str | None]) -> bool:
    return all(stored.dtype == (dtypes.get(tap) or default_dtype(stored.shape)) for tap, stored in shard.taps.items())


def _take(taps: Sequence[str], view: int, there: np.ndarray, left: dict[tuple[str, int], np.ndarray]) -> bool:
    """Crosses out what a shard has; tells whether that was anything."""
    useful = False
    for tap in taps:
        mask = contained(left[tap, view], there)
        useful |= bool(mask.any())
        left[tap, view] = left[tap, view][~mask]
        if not len(left[tap, view]):
            del left[tap, view]
    return useful
