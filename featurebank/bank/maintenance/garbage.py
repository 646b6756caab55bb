"""Garbage collection, `cache gc`: `plan_gc` decides what a bank no longer needs, `collect` removes it.

A process that dies meanwhile leaves an intact bank: a new shard is written before the manifest lists it in place of old
ones, and these are deleted only afterwards. The next run removes its remains. Shards are replaced group by group, and
those without any needed row come first, so that a nearly full disk can be cleaned, too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from featurebank.bank import writer as limits
from featurebank.bank.catalog import remove_directory
from featurebank.bank.index import contained
from featurebank.bank.locks.writer_lock import LOCK, NOTE
from featurebank.bank.maintenance.pieces import has_new_pieces, needed_shards, needless_files
from featurebank.bank.maintenance.unfinished import leftovers, remove_leftovers
from featurebank.bank.manifest import MANIFEST, TABLES, Manifest, load_items, load_manifest
from featurebank.bank.pages.shard_pages import RowDigests
from featurebank.bank.pieces.notes import PIECES, remove_if_empty
from featurebank.bank.shard import PATTERN, ShardEntry, check_size, is_whole, read_keys, read_rows, write_shard
from featurebank.bank.writer import BankWriter, event
from featurebank.errors import BankDamagedError, BankError, BankIncompleteError, BankNotFoundError, BankWarning
from featurebank.system import digest
from featurebank.system.backing.directories import below, entries, find, is_file, modified, remove, size_of
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX
from featurebank.system.progress import SILENT, Reporter

_FEW_ROWS = 4
"""A shard is small if it has fewer than one in this many of the rows that it could have."""
_MANY_SMALL = 8
"""This many small shards of one kind are joined."""
_OLD_S = 3600.0
"""No file takes this long to write."""
_YOUNG_S = 60.0
"""A younger directory without a manifest may be a bank that is being created."""


@dataclass(frozen=True)
class Rewrite:
    """A shard whose needed rows move into a new one."""

    shard: ShardEntry
    rows: np.ndarray
    """The needed rows, (n,) positions in the shard."""


@dataclass(frozen=True)
class Garbage:
    """The parts that a bank does not need."""

    bank: Path
    files: tuple[Path, ...] = ()
    """Remains of dead writers and fine-tunes, and shards and tables that the manifest does not list."""
    rewrites: tuple[Rewrite, ...] = ()
    """Shards with rows of images that have left the dataset, or that other shards hold too; and small shards."""
    dead_rows: int = 0
    """Number of rows to remove."""
    whole: bool = False
    """Whether the directory is the remains of a removed bank, or of one that was never completed."""
    sizes: tuple[int, ...] = field(default=(), repr=False)

    @property
    def bytes(self) -> int:
        """Approximate number of bytes that the bank will shrink by."""
        rows = sum(r.shard.bytes * (r.shard.rows - len(r.rows)) // max(1, r.shard.rows) for r in self.rewrites)
        return sum(self.sizes) + rows

    def __bool__(self) -> bool:
        return bool(self.files or self.rewrites or self.whole)


def plan_gc(path: Path) -> Garbage:
    """Decides what can be removed from a bank's directory; changes nothing.

    Raises:
        BankDamagedError: the bank's tables are damaged, so that the needed files are unknown.
        BankIncompleteError: the first extraction has not finished, so that the needed images are unknown.
        BankError: the directory is a link to another place.
    """
    if path.is_symlink():
        message = f"'{path}' is a link: clean the bank at its real path, 'featurebank cache gc {path.resolve()}'"
        raise BankError(message)
    try:
        manifest = load_manifest(path)
    except BankNotFoundError:
        return _remains(path)
    listed = {MANIFEST, LOCK, NOTE, *manifest.files}
    unlisted = [file for file in _files(path) if file.name not in listed]
    needed = needed_shards(path, manifest.key, [file for file in unlisted if file.match(PATTERN)])
    files = [*(file for file in unlisted if file not in needed), *needless_files(path, manifest.key)]
    if manifest.items is None:
        if files:
            return Garbage(path, tuple(files), sizes=tuple(map(size_of, files)))
        message = f"extraction into '{path}' has not finished: finish it first, so that the needed images are known"
        raise BankIncompleteError(message)
    dead, rewrites = _rewrites(path, manifest)
    return Garbage(path, tuple(files), tuple(rewrites), dead, sizes=tuple(map(size_of, files)))


def collect(path: Path, *, reporter: Reporter = SILENT) -> Garbage:
    """Removes what `plan_gc` finds, while it holds the bank's lock.

    Returns:
        The parts that were removed.

    Raises:
        BankLockedError: another process is writing the bank.
        BankDamagedError, BankIncompleteError, BankError: see `plan_gc`.
        DiskFullError: there is no space for a new shard; the bank is intact, and another run continues.
    """
    garbage = plan_gc(path)
    if not garbage:
        return garbage
    if garbage.whole:
        remove_directory(path, unless_bank=True)
        return garbage
    manifest = load_manifest(path)
    with BankWriter(path, manifest.recipe, manifest.dataset, say=reporter.say, freeing=True) as to:
        for line in to.lost:
            reporter.warn(line, BankWarning)
        garbage = _as_it_is_now(garbage)
        remove_leftovers(path / "runs")
        for file in garbage.files:
            ours = file.parent in {path, path / PIECES}
            if ours or file.name.startswith(TEMPORARY_PREFIX):  # other files of runs are gone or in use
                remove(file)
        remove_if_empty(path)
        if garbage.rewrites:
            with reporter.track("gc", sum(r.shard.bytes for r in garbage.rewrites), "bytes") as advance:
                for group in _groups(garbage.rewrites):
                    whole = [r for r in group if not len(r.rows) or _is_whole(path, r.shard, reporter)]
                    to.replace([r.shard for r in whole], _rewrite(path, whole))
                    advance(sum(r.shard.bytes for r in group))
            to.note(event(removed_rows=garbage.dead_rows, rewritten_shards=len(garbage.rewrites)))
    return garbage


def _as_it_is_now(before: Garbage) -> Garbage:
    """Plans again under the lock; the writer itself has already removed leftovers, which still count."""
    now = plan_gc(before.bank)
    files = dict(zip(before.files, before.sizes, strict=True)) | dict(zip(now.files, now.sizes, strict=True))
    known = {file: size for file, size in files.items() if file in now.files or not is_file(file)}
    return Garbage(now.bank, tuple(known), now.rewrites, now.dead_rows, sizes=tuple(known.values()))


def _files(path: Path) -> Iterator[Path]:
    """Yields the files of writers in a bank's directory, and the remains of dead grids and fine-tunes."""
    for pattern in (f"{TEMPORARY_PREFIX}*", PATTERN, *TABLES):
        yield from (file for file in find(path, pattern) if file.is_symlink() or not file.is_dir())
    if (path / "runs").is_symlink():  # its target does not belong to the bank
        return
    for file in find(path, f"runs/{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # training holds no lock, and may rename its files meanwhile
            if time.time() - file.stat().st_mtime > _OLD_S:
                yield file
    yield from leftovers(path / "runs")


def _remains(path: Path) -> Garbage:
    """Plans the removal of a directory without a manifest, if it is the remains of a bank."""
    ours = {
        *_files(path),
        path / LOCK,
        path / NOTE,
        path / PIECES,
        path / "runs",
    }
    inside = entries(path)
    young = time.time() - modified(path) < _YOUNG_S if inside else True
    if not inside <= ours or young or has_new_pieces(path):
        return Garbage(path)
    return Garbage(path, whole=True, sizes=tuple(size for _, size in below(path)))


def _rewrites(path: Path, manifest: Manifest) -> tuple[int, list[Rewrite]]:
    """Finds the shards with needless rows, and the small ones if there are many; returns the needless rows' number."""
    needed = digest.distinct(load_items(path, manifest).digests)
    kinds: dict[tuple[tuple[str, ...], int], list[tuple[ShardEntry, np.ndarray]]] = {}
    digests_of = RowDigests(path, manifest.pages)
    for shard in manifest.shards:
        with contextlib.suppress(BankDamagedError):  # `cache verify` reports it, and the next extraction restores it
            check_size(path, shard)
            kinds.setdefault(_kind(shard), []).append((shard, digests_of(shard)))
    rewrites = []
    for shards in kinds.values():
        joined = sum(_is_small(shard) for shard, _ in shards) >= _MANY_SMALL
        for rewrite in _living(shards, needed):
            shard = rewrite.shard
            needless = len(rewrite.rows) < shard.rows or (joined and _is_small(shard))
            if needless and not _is_shared(path, shard):
                rewrites.append(rewrite)
    return sum(r.shard.rows - len(r.rows) for r in rewrites), rewrites


def _living(shards: list[tuple[ShardEntry, np.ndarray]], needed: np.ndarray) -> Iterator[Rewrite]:
    """Yields, for each shard, the rows that an image needs and no earlier shard has."""
    digests = np.concatenate([rows for _, rows in shards])
    alive = np.zeros(len(digests), bool)
    alive[np.unique(digests, return_index=True)[1]] = True
    alive &= contained(digests, needed)
    ends = np.cumsum([len(rows) for _, rows in shards])
    for (shard, _), mask in zip(shards, np.split(alive, ends[:-1]), strict=True):
        yield Rewrite(shard, np.flatnonzero(mask))


def _kind(shard: ShardEntry) -> tuple[tuple[str, ...], int]:
    return tuple(sorted(shard.taps)), shard.view


def _is_small(shard: ShardEntry) -> bool:
    return shard.rows < limits.SHARD_ROWS / _FEW_ROWS and shard.bytes < limits.SHARD_BYTES / _FEW_ROWS


def _is_shared(path: Path, shard: ShardEntry) -> bool:
    """Returns whether another bank shares the file: then a copy with fewer rows would take more space, not less."""
    with contextlib.suppress(OSError):
        return (path / shard.file).stat().st_nlink > 1
    return False


def _groups(rewrites: tuple[Rewrite, ...]) -> Iterator[list[Rewrite]]:
    """Groups shards of one kind so that each group becomes one shard; shards without needed rows come first."""
    if dead := [r for r in rewrites if not len(r.rows)]:
        yield dead
    alive = [r for r in rewrites if len(r.rows)]
    for kind in sorted({_kind(r.shard) for r in alive}):
        group: list[Rewrite] = []
        rows = size = 0
        for rewrite in (r for r in alive if _kind(r.shard) == kind):
            more = rewrite.shard.bytes * len(rewrite.rows) // rewrite.shard.rows
            if group and (rows + len(rewrite.rows) > limits.SHARD_ROWS or size + more > limits.SHARD_BYTES):
                yield group
                group, rows, size = [], 0, 0
            group.append(rewrite)
            rows, size = rows + len(rewrite.rows), size + more
        if group:
            yield group


def _is_whole(path: Path, shard: ShardEntry, reporter: Reporter) -> bool:
    """Verifies a shard's checksum: copying damaged rows would give them a new checksum, and hide the damage."""
    if is_whole(path, shard):
        return True
    reporter.warn(
        f"shard '{path / shard.file}' is damaged: left as it is; 'featurebank cache verify --forget' removes it",
        BankWarning,
    )
    return False


def _rewrite(path: Path, group: list[Rewrite]) -> list[ShardEntry]:
    """Writes the needed rows of several shards as one, in the order of their digests."""
    group = [r for r in group if len(r.rows)]
    if not group:
        return []
    keys = np.concatenate([read_keys(path, r.shard)[r.rows] for r in group])
    order = np.argsort(keys["digest"], kind="stable")
    taps = {
        tap: [np.concatenate([read_rows(path, r.shard, tap, r.rows) for r in group])[order]]
        for tap in sorted(group[0].shard.taps)
    }
    return [write_shard(path, keys[order], taps)]
