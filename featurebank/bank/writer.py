"""Writes a bank: rows in, shards out; a shard is listed only when it is complete.

The order of events makes a crash harmless: a shard is written under a temporary name, synced and renamed, and only then
a new manifest lists it. Only the rows in memory are lost when a process dies; they are computed again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from featurebank.bank.contents import BankContents, read_contents
from featurebank.bank.items import Items
from featurebank.bank.locks.writer_lock import WriterLock
from featurebank.bank.manifest import FORMAT_VERSION, MANIFEST, Manifest, load_manifest
from featurebank.bank.pages.corrections import CORRECTIONS, apply_corrections, read_corrections
from featurebank.bank.pages.shard_pages import with_new_pages
from featurebank.bank.pieces.waiting_rows import WaitingRows, as_stored
from featurebank.bank.shard import KEY_DTYPE, ShardEntry, write_shard
from featurebank.errors import BankNotFoundError, DiskFullError
from featurebank.system.backing.directories import find, is_file, remove
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX

SHARD_ROWS = 4096
SHARD_BYTES = 128 << 20
SHARD_SECONDS = 60.0
"""A shard ends at the first of these limits, which bound the loss by a crash in rows, memory and time."""


def row_keys(digests: np.ndarray, view: int | np.ndarray = 0) -> np.ndarray:
    """Returns the keys of images' rows: (n,) of `KEY_DTYPE`."""
    keys = np.empty(len(digests), KEY_DTYPE)
    keys["digest"], keys["view"] = digests, view
    return keys


class BankWriter:
    """The only writer of a bank, as a `with` block; leaving the block in any way saves every appended row.

    Args:
        path: the bank's directory; created if it does not exist.
        recipe: everything that decides the value of a feature.
        dataset: name, spec, classes, fractions and seed.
        source: the user's own specification of the weights; see `Manifest`.
        wait: whether to wait for another process that is writing the bank, instead of raising.
        say: callback that receives a line about the lock: which process is waited for, or whose lock was taken over.
        freeing: the writer frees space, so it has to work on a full disk; see `WriterLock`.

    Raises:
        BankLockedError: another process is writing the bank.
        BankReadOnlyError: the directory is not writable.
        DiskFullError: no space is left on the disk, not even for the writer's note.
    """

    manifest: Manifest
    """What the bank lists; read from the disk when the block begins, as are the digests of the rows of each shard."""
    _digests: dict[str, np.ndarray]

    def __init__(
        self,
        path: Path,
        recipe: Mapping[str, Any],
        dataset: Mapping[str, Any],
        *,
        source: Mapping[str, Any] | None = None,
        wait: bool = False,
        say: Callable[[str], None] | None = None,
        freeing: bool = False,
    ) -> None:
        self.path = path
        self.lost: tuple[str, ...] = ()
        """One line for each listed shard that was found missing or damaged; its rows count as not there."""
        self._fresh = Manifest(recipe=recipe, dataset=dataset, source=source or {})
        self._say = say or (lambda line: None)
        self._lock = WriterLock(path, wait=wait, say=say, freeing=freeing)
        self._waiting: dict[tuple[tuple[str, ...], int], WaitingRows] = {}
        self._since = time.monotonic()
        self._rows_lock = threading.RLock()  # an interrupted main thread may flush while another thread appends

    def __enter__(self) -> Self:
        self._lock.__enter__()
        try:
            self._remove_leftovers()
            contents = read_contents(self.path, self._fresh)
            self.manifest, self._digests, self.lost = contents.manifest, dict(contents.digests), contents.lost
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._lock.__exit__(kind, error, trace)

    @property
    def contents(self) -> BankContents:
        """Which rows the bank has now, without those that wait in memory."""
        return BankContents(self.manifest, self._digests, self.lost)

    def stored(self, tap: str, view: int = 0) -> np.ndarray:
        """Returns the digests of the images whose row a tap has already in a view: (n,) "S32"."""
        return self.contents.stored(tap, view)

    def stored_dtype(self, tap: str) -> str | None:
        """Returns the type a tap is stored in, or None where it has no rows yet."""
        return self.contents.stored_dtype(tap)

    def append(
        self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray], dtypes: Mapping[str, str | None]
    ) -> None:
        """Adds rows.

        Args:
            ids: n names of the images, only for messages.
            keys: (n,) of `KEY_DTYPE`.
            taps: (n, ...) float32 for each tap.
            dtypes: the dtype to store each tap in; None means `default_dtype`.

        Raises:
            FeatureRangeError: a feature is NaN, infinite or out of float16's range; no row of this call is added.
            DiskFullError: no space is left on the disk for the shard.
        """
        converted = {tap: as_stored(tap, block, dtypes[tap], ids) for tap, block in taps.items()}
        with self._rows_lock:
            for view in np.unique(keys["view"]).tolist():
                here = keys["view"] == view
                part = (keys, converted) if here.all() else (keys[here], {t: b[here] for t, b in converted.items()})
                rows = self._waiting.setdefault((tuple(sorted(taps)), view), WaitingRows())
                rows.add(*part)
                if rows.count >= SHARD_ROWS:
                    self._write(tuple(sorted(taps)), view)
            size = sum(rows.bytes for rows in self._waiting.values())
            if size >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Writes the rows in memory as shards, and lists them."""
        with self._rows_lock:
            for taps, view in list(self._waiting):
                self._write(taps, view)
            self._since = time.monotonic()

    def adopt(
        self, entries: Sequence[ShardEntry], keys: Sequence[np.ndarray], event: Mapping[str, Any] | None = None
    ) -> None:
        """Lists shards of another bank that have been linked into this bank's directory.

        Args:
            entries: the entries of the other bank's manifest.
            keys: the row keys of each shard.
            event: an event for the history, or None.
        """
        with self._rows_lock:
            self._digests |= {entry.file: own["digest"] for entry, own in zip(entries, keys, strict=True)}
            self._list(entries, event)

    def replace(self, removed: Iterable[ShardEntry], entries: Sequence[ShardEntry]) -> None:
        """Lists shards in place of others; the files of those are deleted once the new manifest is saved."""
        files = {entry.file for entry in removed}
        with self._rows_lock:
            others = tuple(shard for shard in self.manifest.shards if shard.file not in files)
            self._save(replace(self.manifest, shards=(*others, *entries)))
        for name in files - {entry.file for entry in entries}:
            remove(self.path / name)

    def create(self) -> None:
        """Writes the manifest if there is none yet, so that the bank can be found before it has rows."""
        if not is_file(self.path / MANIFEST):
            self._save(self.manifest)

    def note(self, event: Mapping[str, Any]) -> None:
        """Adds an event to the history."""
        self._save(replace(self.manifest, history=(*self.manifest.history, event)))

    def _write(self, taps: tuple[str, ...], view: int) -> None:
        rows = self._waiting.pop((taps, view))
        keys = np.concatenate(rows.keys)
        entry = write_shard(self.path, keys, rows.blocks)
        self._digests[entry.file] = np.ascontiguousarray(keys["digest"])
        self._list([entry])

    def _list(self, entries: Sequence[ShardEntry], event: Mapping[str, Any] | None = None) -> None:
        files = {entry.file for entry in entries}
        others = tuple(shard for shard in self.manifest.shards if shard.file not in files)
        history = (*self.manifest.history, event) if event else self.manifest.history
        self._save(replace(self.manifest, shards=(*others, *entries), history=history))

    def finish(
        self,
        items: Items,
        taps: Sequence[str],
        skipped: Iterable[Mapping[str, str]],
        event: Mapping[str, Any] | None,
        *,
        views: int = 0,
    ) -> None:
        """Publishes the appended rows: lists the items, the taps that all of them have, and the skipped images.

        Labels that were corrected in the bank stay so, unless the writer's `dataset` itself lists corrections.

        Args:
            items: the images that have a row in each of `taps` and views, with the labels of the dataset.
            taps: names of the taps.
            views: number of views of each image, besides the clean one.
            skipped: `id`, `reason` and (if known) `digest` of each image without a row.
            event: an event for the history, or None.
        """
        self.flush()
        items, dataset = self._corrected(items)
        manifest = self.manifest.with_items(self.path, items.sorted(), tuple(taps), views)
        history = (*manifest.history, event) if event else manifest.history
        source = self._fresh.source or manifest.source
        self._save(replace(manifest, skipped=tuple(skipped), history=history, dataset=dataset, source=source))

    def _corrected(self, items: Items) -> tuple[Items, Mapping[str, Any]]:
        """Returns the items with their corrected labels, and what the manifest records of the dataset."""
        dataset = self._fresh.dataset
        if CORRECTIONS in dataset:
            return items, dataset
        result = apply_corrections(items, dataset["classes"], read_corrections(self.manifest.dataset))
        if result.line:
            self._say(result.line)
        return result.items, {**dataset, CORRECTIONS: result.record} if result.record else dataset

    def _save(self, manifest: Manifest) -> None:
        """Saves a manifest, with many shards moved into pages; deletes the tables that it does not list any more."""
        self._lock.check()
        before = self.manifest.tables
        try:
            pages = with_new_pages(self.path, manifest.shards, manifest.pages, self._digests)
            manifest = replace(manifest, pages=pages, version=FORMAT_VERSION)
            manifest.save(self.path)
        except DiskFullError:
            self._remove_unlisted(manifest)
            raise
        self.manifest = manifest
        for name in before - manifest.tables:
            with contextlib.suppress(PermissionError):  # on Windows, while a reader maps it: `cache gc` removes it
                remove(self.path / name)

    def _remove_unlisted(self, failed: Manifest) -> None:
        """Deletes the files of a manifest that could not be saved, because they take space on the full disk."""
        listed: set[str] = set()
        with contextlib.suppress(BankNotFoundError):
            listed = load_manifest(self.path).files  # of the manifest on disk, whichever part of the writing failed
        for name in failed.files - listed:
            remove(self.path / name)

    def _remove_leftovers(self) -> None:
        for path in find(self.path, f"{TEMPORARY_PREFIX}*"):
            if path.is_symlink() or not path.is_dir():
                remove(path)  # we hold the lock: the process that wrote this file is dead


def event(**what: Any) -> dict[str, Any]:
    """Returns an event for a bank's history, with the current time."""
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **what}
