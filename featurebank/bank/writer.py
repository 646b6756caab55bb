"""Writing a bank: rows in, shards out, each listed only once it is whole.

The order of events is what makes a crash harmless: a shard is written under a temporary name, synced, renamed, and
only then does a new manifest list it. Rows in memory when a process dies are extracted again; nothing else is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from featurebank.bank.lock import WriterLock
from featurebank.bank.manifest import Items, Manifest, load_manifest
from featurebank.bank.shard import KEY_DTYPE, ShardEntry, read_keys, write_shard
from featurebank.errors import BankDamagedError, BankNotFoundError, ConfigError, FeatureRangeError
from featurebank.files import TEMPORARY_PREFIX

SHARD_ROWS = 4096
SHARD_BYTES = 128 << 20
SHARD_SECONDS = 60.0
"""A shard ends at whichever comes first: what a crash can cost is bounded in rows, memory and time."""

_FLOAT16_MAX = float(np.finfo(np.float16).max)


def row_keys(digests: np.ndarray, view: int = 0) -> np.ndarray:
    """Returns the keys of some images' rows: (n,) of `KEY_DTYPE`."""
    keys = np.empty(len(digests), KEY_DTYPE)
    keys["digest"], keys["view"] = digests, view
    return keys


class BankWriter:
    """The one writer of a bank, inside a `with` block; leaving it, however, keeps every row appended so far.

    Args:
        path: the bank's directory; made if it is not there.
        recipe: what decides a feature's value.
        dataset: name, spec, classes, fractions and seed.

    Raises:
        BankLockedError: another process writes the bank.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], dataset: Mapping[str, Any]) -> None:
        self.path = path
        self.lost: list[str] = []
        """One line for each listed shard that was found missing or damaged; its rows count as not there."""
        self._fresh = Manifest(recipe=recipe, dataset=dataset)
        self._lock = WriterLock(path)
        self._keys: list[np.ndarray] = []
        self._blocks: dict[str, list[np.ndarray]] = {}
        self._since = time.monotonic()
        self._rows_lock = threading.RLock()  # an interrupted main thread may flush while another still appends

    def __enter__(self) -> Self:
        self._lock.__enter__()
        try:
            self._remove_leftovers()
            self.manifest = self._existing()
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

    def stored(self, tap: str) -> np.ndarray:
        """Returns the keys of the rows that a tap has already: (n,) of `KEY_DTYPE`."""
        keys = [self._shard_keys[shard.file] for shard in self.manifest.shards if tap in shard.taps]
        return np.concatenate(keys) if keys else np.empty(0, KEY_DTYPE)

    def stored_dtype(self, tap: str) -> str | None:
        """Returns the type a tap is stored in, or None where it has no rows yet."""
        return next((shard.taps[tap].dtype for shard in self.manifest.shards if tap in shard.taps), None)

    def append(
        self, ids: Sequence[str], keys: np.ndarray, taps: Mapping[str, np.ndarray], dtypes: Mapping[str, str | None]
    ) -> None:
        """Adds rows.

        Args:
            ids: n names of the images, for messages alone.
            keys: (n,) of `KEY_DTYPE`.
            taps: (n, ...) float32 for each tap; every call between two shards has the same taps.
            dtypes: the type to store each tap in; None is float32 for vectors and float16 for maps, which are large
                and made of activations of moderate size.

        Raises:
            FeatureRangeError: a feature is NaN, infinite or out of float16's range; no row of this call is added.
            DiskFullError: no space is left for the shard.
        """
        converted = {tap: _convert(tap, block, dtypes[tap], ids) for tap, block in taps.items()}
        with self._rows_lock:
            if self._blocks and set(self._blocks) != set(taps):
                self.flush()
            self._keys.append(keys)
            for tap, block in converted.items():
                self._blocks.setdefault(tap, []).append(block)
            if self._is_full():
                self.flush()

    def flush(self) -> None:
        """Writes what is in memory as a shard, and lists it."""
        with self._rows_lock:
            if not self._keys:
                return
            keys = np.concatenate(self._keys)
            blocks, self._blocks, self._keys = self._blocks, {}, []
            entry = write_shard(self.path, keys, blocks)
            others = tuple(shard for shard in self.manifest.shards if shard.file != entry.file)
            self._shard_keys[entry.file] = keys
            self._save(replace(self.manifest, shards=(*others, entry)))
            self._since = time.monotonic()

    def finish(
        self,
        items: Items,
        taps: Sequence[str],
        skipped: Iterable[Mapping[str, str]],
        event: Mapping[str, Any] | None,
    ) -> None:
        """Makes everything appended visible: lists the items, the taps that all of them have, and the skipped images.

        Args:
            items: every image that has a row in each of `taps`.
            taps: their names.
            skipped: `id`, `reason` and where known `digest` of each image without a row.
            event: what to add to the history, or None.
        """
        self.flush()
        manifest = self.manifest.with_items(self.path, items.sorted(), tuple(taps))
        history = (*manifest.history, event) if event else manifest.history
        old = self.manifest.items
        self._save(replace(manifest, skipped=tuple(skipped), history=history, dataset=self._fresh.dataset))
        if old and manifest.items and old["file"] != manifest.items["file"]:
            (self.path / old["file"]).unlink(missing_ok=True)

    def _existing(self) -> Manifest:
        self._shard_keys: dict[str, np.ndarray] = {}
        try:
            manifest = load_manifest(self.path)
        except BankNotFoundError:
            return self._fresh
        if manifest.key != self._fresh.key:
            message = f"'{self.path}' holds features of another recipe: choose another --cache"
            raise ConfigError(message)
        return replace(manifest, shards=tuple(s for s in manifest.shards if self._is_whole(s)))

    def _is_whole(self, shard: ShardEntry) -> bool:
        try:
            self._shard_keys[shard.file] = read_keys(self.path, shard)
        except BankDamagedError as error:
            self.lost.append(str(error))
            return False
        return True

    def _save(self, manifest: Manifest) -> None:
        manifest.save(self.path)
        self.manifest = manifest

    def _is_full(self) -> bool:
        rows = sum(len(keys) for keys in self._keys)
        size = sum(block.nbytes for blocks in self._blocks.values() for block in blocks)
        return rows >= SHARD_ROWS or size >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS

    def _remove_leftovers(self) -> None:
        for path in self.path.glob(f"{TEMPORARY_PREFIX}*"):
            path.unlink(missing_ok=True)  # we hold the lock: whoever was writing this is dead


def _convert(tap: str, block: np.ndarray, dtype: str | None, ids: Sequence[str]) -> np.ndarray:
    dtype = dtype or ("float32" if block.ndim == 2 else "float16")  # noqa: PLR2004 - (rows, features)
    flat = block.reshape(len(block), -1)
    finite = np.isfinite(flat).all(axis=1)
    if not finite.all():
        message = (
            f"tap '{tap}' is NaN or infinite for image '{ids[int(np.argmin(finite))]}': the network (or its weights) "
            "is broken, no head can use this; try other --weights"
        )
        raise FeatureRangeError(message)
    if dtype == "float16" and np.abs(flat).max(initial=0) > _FLOAT16_MAX:
        message = (
            f"tap '{tap}' reaches {np.abs(flat).max():.4g}, float16 ends at {_FLOAT16_MAX:.0f}: use --store float32"
        )
        raise FeatureRangeError(message)
    return block.astype(dtype)
