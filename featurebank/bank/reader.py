"""Reading a bank: features by memory map, labels, ids; any number of readers, also while one writes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurebank import digest
from featurebank.bank.manifest import Items, Manifest, load_items, load_manifest
from featurebank.bank.shard import ShardEntry, map_tap, read_keys
from featurebank.errors import BankDamagedError, BankIncompleteError, ConfigError, unknown_name

SPLITS = ("train", "val", "test")


class Bank:
    """The stored taps of one backbone over one dataset, as they were when the bank was opened.

    A writer that adds to the bank meanwhile is not seen: what was opened stays complete and as it was.

    Args:
        path: the bank's directory.

    Raises:
        BankNotFoundError: there is no bank.
        BankIncompleteError: its first extraction has not ended.
        BankDamagedError: its tables are not what was written.
        FormatVersionError: a newer featurebank wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest, self._items = _load(self.path)

    def __repr__(self) -> str:
        return f"Bank('{self.path}', {len(self)} images, taps {', '.join(self.taps)})"

    def __len__(self) -> int:
        return len(self._items.ids)

    @property
    def name(self) -> str:
        """The name of the bank's directory."""
        return self.path.name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What decides a feature's value: backbone, weights digest, preprocessing, image size, resize, precision."""
        return self.manifest.recipe

    @property
    def digest(self) -> str:
        """The digest of the recipe and of all items: of everything that a head trained here depends on."""
        assert self.manifest.items is not None
        return digest.of_recipe([self.manifest.key, self.manifest.items["digest"], list(self.classes)])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a label is a position among them."""
        return tuple(self.manifest.dataset["classes"])

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the taps that every image has."""
        return self.manifest.taps

    @property
    def skipped(self) -> tuple[Mapping[str, str], ...]:
        """The images that have no row: `id` and `reason` of each."""
        return self.manifest.skipped

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Returns the shape of one image's features at a tap.

        Raises:
            UnknownNameError: the bank does not have the tap.
        """
        return self._shards_with(tap)[0].taps[tap].shape

    def tap_dtype(self, tap: str) -> str:
        """Returns the type that a tap is stored in: "float32" or "float16"."""
        return self._shards_with(tap)[0].taps[tap].dtype

    def tap_bytes(self, tap: str) -> int:
        """Returns how many bytes the rows of a tap take on disk."""
        per_row = int(np.prod(self.tap_shape(tap))) * np.dtype(self.tap_dtype(tap)).itemsize
        return per_row * sum(shard.rows for shard in self._shards_with(tap))

    def ids(self, split: str | None = None) -> list[str]:
        """Returns the ids of the images: paths relative to the dataset's root, or positions in an array.

        Args:
            split: "train", "val" or "test"; None for all.
        """
        return [self._items.ids[i] for i in self._positions(split)]

    def labels(self, split: str | None = None) -> np.ndarray:
        """Returns the labels: (n,) int32, in the order of `ids`."""
        return np.asarray(self._items.labels[self._positions(split)])

    def splits(self) -> np.ndarray:
        """Returns the split of each image: (n,) of "train", "val" or "test", in the order of `ids()`."""
        return np.asarray(np.array(SPLITS)[self._items.splits])

    def features(self, tap: str = "pooled", split: str | None = None, *, view: int = 0) -> np.ndarray:
        """Returns the features of a tap: (n, ...) float32, in the order of `ids`.

        Args:
            tap: one of `taps`.
            split: "train", "val" or "test"; None for all.
            view: 0 is the clean image.

        Raises:
            UnknownNameError: there is no such tap.
            BankDamagedError: a shard is missing or not what was written.
        """
        positions = self._positions(split)
        shard_of, row_of = self._locate(tap, view)
        shards = self._shards_with(tap)
        out = np.empty((len(positions), *self.tap_shape(tap)), np.float32)
        wanted_shard, wanted_row = shard_of[positions], row_of[positions]
        for number, shard in enumerate(shards):
            here = np.flatnonzero(wanted_shard == number)
            if len(here):
                # numpy converts float16 twenty times faster than HDF5 does.
                out[here] = map_tap(self.path, shard, tap)[wanted_row[here]]
        return out

    def _positions(self, split: str | None) -> np.ndarray:
        if split is None:
            return np.arange(len(self))
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return np.flatnonzero(self._items.splits == SPLITS.index(split))

    def _shards_with(self, tap: str) -> list[ShardEntry]:
        if tap not in self.taps:
            hint = f"'featurebank extract --tap {tap}' adds it"
            raise unknown_name("tap", tap, self.taps, hint)
        shards = [shard for shard in self.manifest.shards if tap in shard.taps]
        if not shards:  # they were damaged, and the run that was to make them again was interrupted
            message = f"'{self.path}' lacks all rows of tap '{tap}': run extract again"
            raise BankDamagedError(message)
        return shards

    @cached_property
    def _located(self) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
        return {}

    def _locate(self, tap: str, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each image the number of the shard that holds it, and its row there."""
        if (tap, view) not in self._located:
            self._located[tap, view] = self._search(tap, view)
        return self._located[tap, view]

    def _search(self, tap: str, view: int) -> tuple[np.ndarray, np.ndarray]:
        digests, shards, rows = [], [], []
        for number, shard in enumerate(self._shards_with(tap)):
            keys = read_keys(self.path, shard)
            here = np.flatnonzero(keys["view"] == view)
            digests.append(keys["digest"][here])
            shards.append(np.full(len(here), number))
            rows.append(here)
        stored = np.concatenate(digests)
        missing = np.flatnonzero(~np.isin(self._items.digests, stored))
        if len(missing):
            if view != 0:
                message = f"the bank has no view {view} of tap '{tap}': 0 is the clean image"
                raise ConfigError(message)
            first = self._items.ids[int(missing[0])]
            message = f"'{self.path}' lacks {len(missing)} rows of tap '{tap}' (as of '{first}'): run extract again"
            raise BankDamagedError(message)
        order = np.argsort(stored, kind="stable")
        found = order[np.searchsorted(stored, self._items.digests, sorter=order)]
        return np.concatenate(shards)[found], np.concatenate(rows)[found]


def _load(path: Path) -> tuple[Manifest, Items]:
    """Reads both tables, again where a writer replaced them between the two reads."""
    manifest = load_manifest(path)
    while True:
        if manifest.items is None:
            rows = sum(shard.rows for shard in manifest.shards)
            message = (
                f"extraction into '{path}' has not ended ({rows} rows so far): "
                "run the same 'featurebank extract' again, it goes on where it was"
            )
            raise BankIncompleteError(message)
        try:
            return manifest, load_items(path, manifest)
        except BankDamagedError:
            newer = load_manifest(path)
            if newer.items == manifest.items:
                raise
            manifest = newer


def open_bank(path: str | Path) -> Bank:
    """Opens a bank for reading; see `Bank`."""
    return Bank(path)
