"""Locates and reads the rows of a bank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from featurebank.bank.index import first_shards
from featurebank.bank.items import Items
from featurebank.bank.manifest import Manifest, load_manifest
from featurebank.bank.pages.shard_pages import RowDigests
from featurebank.bank.shard import ShardEntry, map_tap, read_rows
from featurebank.errors import BankDamagedError, ConfigError, unknown_name
from featurebank.words import counted

_Result = TypeVar("_Result")
_RELEASED = 256
"""Shards after whose digests those that were read are removed from memory; all digests of ten million rows are 640 MB.
"""
_CONVERTED = 4 << 20
"""Numbers that are converted to float32 at a time."""


class RowBlock(NamedTuple):
    """The features, labels and positions of some images."""

    features: np.ndarray
    """(b, ...) float32."""
    labels: np.ndarray
    """(b,) int32."""
    positions: np.ndarray
    """(b,) int64, positions in `Bank.ids(split)`."""


@dataclass(frozen=True)
class ShardPart:
    """The rows of one shard that belong to items; several items may share a row."""

    rows: np.ndarray
    """(m,) int32, indices of rows in the shard, in the order of the items."""
    positions: np.ndarray
    """(m,) int64, the items."""
    read: Callable[[], np.ndarray]
    """Memory-maps all rows of the shard, (rows, ...) of the stored dtype; its pages are free when the map is."""


@dataclass
class _Listed:
    """A manifest with the locations of its rows; a thread never mixes it with the shards of another manifest."""

    manifest: Manifest
    digests_of: RowDigests
    """Finds the digests of the rows of its shards."""
    located: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


class StoredRows:
    """The rows of a bank's items, located by their keys. Threads may share it.

    Args:
        path: the bank's directory.
        manifest: lists the shards.
        items: the images; the methods take positions in them.
    """

    def __init__(self, path: Path, manifest: Manifest, items: Items) -> None:
        self._path, self._items = path, items
        self._listed = _Listed(manifest, RowDigests(path, manifest.pages))

    def shards_with(self, tap: str) -> list[ShardEntry]:
        """Returns the shards that hold a tap, in any view.

        Raises:
            UnknownNameError: the bank has no such tap.
            BankDamagedError: the manifest lists the tap, but no shard holds it.
        """
        return self._shards_with(self._listed, tap)

    def _shards_with(self, listed: _Listed, tap: str) -> list[ShardEntry]:
        if tap not in listed.manifest.taps:
            hint = f"'featurebank extract --tap {tap}' adds it"
            raise unknown_name("tap", tap, listed.manifest.taps, hint)
        shards = [shard for shard in listed.manifest.shards if tap in shard.taps]
        if not shards:  # they were damaged, and the run that was to restore them was interrupted
            message = f"'{self._path}' lacks all rows of tap '{tap}': run the same 'featurebank extract' again"
            raise BankDamagedError(message)
        return shards

    def check(self, tap: str, views: int) -> None:
        """Raises BankDamagedError if an item lacks a row of a tap, in the clean view or one of `views` others."""
        for view in range(views + 1):
            self._locate(self._listed, tap, view)

    def read(self, tap: str, view: int, positions: np.ndarray) -> np.ndarray:
        """Reads the rows of items: (n, ...) float32."""
        return self._retried(lambda listed: self._read(listed, tap, view, positions))

    def scan(self, tap: str, view: int, work: Callable[[list[ShardPart]], _Result]) -> _Result:
        """Calls a function with all shards of a tap, and again from the start if a writer moves rows meanwhile."""
        return self._retried(lambda listed: work(self._parts(listed, tap, view)))

    def _parts(self, listed: _Listed, tap: str, view: int) -> list[ShardPart]:
        shard_of, row_of = self._locate(listed, tap, view)
        order = np.argsort(shard_of, kind="stable")
        numbers, starts = np.unique(shard_of[order], return_index=True)
        return [
            ShardPart(row_of[here], here, partial(map_tap, self._path, listed.manifest.shards[number], tap))
            for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)
        ]

    def groups(
        self, tap: str, view: int, positions: np.ndarray, most: int, generator: np.random.Generator | None
    ) -> list[np.ndarray]:
        """Splits items into groups that are read at a time.

        Args:
            tap: the tap to read.
            view: the view to read.
            positions: (n,) positions of the items.
            most: the largest number of rows in a group, unless a single shard has more.
            generator: shuffles the shards and the rows; None keeps the order of the positions.

        Returns:
            Groups of indices into `positions`; each index occurs once.
        """
        if generator is None:
            return [np.arange(start, min(start + most, len(positions))) for start in range(0, len(positions), most)]
        shard_of = self.shards_of(tap, view, positions)
        order = np.argsort(shard_of, kind="stable")
        shards = np.split(order, np.flatnonzero(np.diff(shard_of[order])) + 1) if len(order) else []
        groups: list[list[np.ndarray]] = []
        size = most
        for number in generator.permutation(len(shards)).tolist():
            if size + len(shards[number]) > most:
                groups.append([])
                size = 0
            groups[-1].append(shards[number])
            size += len(shards[number])
        return [generator.permutation(np.concatenate(group)) for group in groups]

    def shards_of(self, tap: str, view: int, positions: np.ndarray) -> np.ndarray:
        """Returns the number of the shard that holds the row of each item, (n,) int32."""
        return np.asarray(self._retried(lambda listed: self._locate(listed, tap, view))[0][positions])

    def _read(self, listed: _Listed, tap: str, view: int, positions: np.ndarray) -> np.ndarray:
        shard_of, row_of = (column[positions] for column in self._locate(listed, tap, view))
        shape = self._shards_with(listed, tap)[0].taps[tap].shape
        out = np.empty((len(positions), *shape), np.float32)
        if not len(positions):
            return out
        order = np.lexsort((row_of, shard_of))  # the order on disk
        numbers, starts = np.unique(shard_of[order], return_index=True)
        for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            for part in np.array_split(here, math.ceil(max(1, here.size * math.prod(shape)) / _CONVERTED)):
                out[part] = as_float32(read_rows(self._path, listed.manifest.shards[number], tap, row_of[part]))
        return out

    def _retried(self, read: Callable[[_Listed], _Result]) -> _Result:
        """Reads, and retries whenever a writer has moved the rows to other shards meanwhile, as `cache gc` does."""
        listed = self._listed
        while True:
            try:
                return read(listed)
            except BankDamagedError:
                newer = load_manifest(self._path)
                if newer.key != listed.manifest.key or newer.shards == listed.manifest.shards:
                    raise
                fresh = replace(listed.manifest, shards=newer.shards, pages=newer.pages)
                listed = self._listed = _Listed(fresh, RowDigests(self._path, newer.pages))

    def _locate(self, listed: _Listed, tap: str, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns, for each item, the number of the shard that holds its row, and the row's index in it."""
        if (tap, view) not in listed.located:
            listed.located[tap, view] = self._search(listed, tap, view)
        return listed.located[tap, view]

    def _search(self, listed: _Listed, tap: str, view: int) -> tuple[np.ndarray, np.ndarray]:
        views = listed.manifest.views
        if not 0 <= view <= views:
            known = f"1 to {views} are its augmentations" if views else "'extract --views' makes more"
            message = f"the bank has no view {view} of tap '{tap}': 0 is the clean image, {known}"
            raise ConfigError(message)
        self._shards_with(listed, tap)

        def shards() -> Iterator[tuple[int, np.ndarray]]:
            for number, shard in enumerate(listed.manifest.shards):
                if tap in shard.taps and shard.view == view:
                    yield number, listed.digests_of(shard)
                if not number % _RELEASED:
                    self._items.release()
                    listed.digests_of.release()

        shard_of, row_of = first_shards(self._items.words(), self._items.digests_at, shards())
        self._items.release()
        listed.digests_of.release()
        missing = np.flatnonzero(shard_of < 0)
        if len(missing):
            first = self._items.ids[int(missing[0])]
            message = (
                f"'{self._path}' lacks {counted(len(missing), 'row')} of tap '{tap}' (as of '{first}'): run the same "
                "'featurebank extract' again"
            )
            raise BankDamagedError(message)
        return shard_of, row_of


def as_float32(rows: np.ndarray) -> np.ndarray:
    """Returns stored features as float32: a new array for float16, the same array for float32.

    Args:
        rows: float32 or float16, all finite, as every stored feature is.
    """
    if rows.dtype != np.float16:
        return np.asarray(rows, np.float32)
    # The bits of a float16 become those of a float32 with a smaller exponent, which a product corrects exactly, also
    # for subnormal numbers. numpy's own conversion, one number at a time, takes 18 times as long.
    bits = np.ascontiguousarray(rows).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= ~np.int32(0x70000000)
    result = bits.view(np.float32)
    result *= np.float32(2.0**112)
    return result
