"""Reads a bank: memory-mapped features, labels and ids; for any number of readers, also during writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurebank.bank import plain_files
from featurebank.bank.items import Items
from featurebank.bank.manifest import Manifest, load_items, load_manifest
from featurebank.bank.rows import StoredRows
from featurebank.errors import BankDamagedError, BankIncompleteError, RamLimitError, unknown_name
from featurebank.system import digest, runtime
from featurebank.words import counted

SPLITS = ("train", "val", "test")
BLOCK_BYTES = 256 << 20
"""Size of the blocks of `Bank.blocks`, where `--ram` allows it."""
_TRIES = 3
"""After this many retries under the same manifest, a table that reads as damaged is damaged."""


class RowBlock(NamedTuple):
    """A block of images with their features."""

    features: np.ndarray
    """(b, ...) float32."""
    labels: np.ndarray
    """(b,) int32."""
    positions: np.ndarray
    """(b,) int64, positions in `Bank.ids(split)`."""


class Bank:
    """The stored taps of one backbone over one dataset, as of the opening of the bank.

    Changes by a writer after the opening are invisible: the opened bank stays complete and constant.

    Args:
        path: the bank's directory.

    Raises:
        BankNotFoundError: there is no bank.
        BankIncompleteError: its first extraction has not finished.
        BankDamagedError: its tables are not what featurebank wrote.
        FormatVersionError: a newer featurebank wrote it.

    Example:
        >>> bank = Bank("cache/photos-lite0-224px-0123456789ab")  # doctest: +SKIP
        >>> bank.features("pooled", "train").shape  # doctest: +SKIP
        (700, 1280)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest, self._items = _load(self.path)
        self._rows = StoredRows(self.path, self.manifest, self._items)

    def __repr__(self) -> str:
        return f"Bank('{self.path}', {counted(len(self), 'image')}, taps {', '.join(self.taps)})"

    def __len__(self) -> int:
        return len(self._items.digests)

    @property
    def name(self) -> str:
        """The name of the bank's directory."""
        return self.path.name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Everything that decides a feature: backbone, weights digest, preprocessing, image size, resize, precision."""
        return self.manifest.recipe

    @cached_property
    def digest(self) -> str:
        """The digest of the recipe, the classes, and each image's content, label and split; ids do not count.

        Runs refer to it: a head that was trained here depends on nothing else but its tap and its views.
        """
        return digest.of_recipe([self.manifest.key, self._items.content_digest, list(self.classes)])

    @cached_property
    def former_digest(self) -> str:
        """The value of `digest` before ids ceased to count; older runs refer to it."""
        assert self.manifest.items is not None
        return digest.of_recipe([self.manifest.key, self.manifest.items["digest"], list(self.classes)])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a label is an index into them."""
        return tuple(self.manifest.dataset["classes"])

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the taps that every image has."""
        return self.manifest.taps

    @property
    def views(self) -> int:
        """Number of augmented views of every image, besides the clean one, which is view 0."""
        return self.manifest.views

    @property
    def skipped(self) -> tuple[Mapping[str, str], ...]:
        """The images without a row: `id` and `reason` of each."""
        return self.manifest.skipped

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Returns the shape of one image's features at a tap.

        Raises:
            UnknownNameError: the bank has no such tap.
        """
        return self._rows.shards_with(tap)[0].taps[tap].shape

    def tap_dtype(self, tap: str) -> str:
        """Returns the dtype of a tap on disk: "float32" or "float16"."""
        return self._rows.shards_with(tap)[0].taps[tap].dtype

    def tap_bytes(self, tap: str) -> int:
        """Returns the size of a tap's rows on disk in bytes."""
        per_row = int(np.prod(self.tap_shape(tap))) * np.dtype(self.tap_dtype(tap)).itemsize
        return per_row * sum(shard.rows for shard in self._rows.shards_with(tap))

    def ids(self, split: str | None = None) -> list[str]:
        """Returns the ids of the images: paths relative to the dataset's root, or indices of an array.

        Args:
            split: "train", "val" or "test"; None for all.
        """
        if split is None:
            return list(self._items.ids)
        return [self._items.ids[i] for i in self._positions(split).tolist()]

    def digests(self, split: str | None = None) -> np.ndarray:
        """Returns the content digests of the images: (n,) "S32", in the order of `ids`."""
        return np.asarray(self._items.digests[self._positions(split)])

    def labels(self, split: str | None = None) -> np.ndarray:
        """Returns the labels: (n,) int32, in the order of `ids`."""
        return np.asarray(self._items.labels[self._positions(split)])

    def metadata(self, split: str | None = None) -> dict[str, np.ndarray]:
        """Returns the further columns of the dataset, as from a table file: (n,) each, in the order of `ids`."""
        positions = self._positions(split)
        return {name: np.asarray(column[positions]) for name, column in self._items.metadata.items()}

    def splits(self) -> np.ndarray:
        """Returns the split of each image: (n,) of "train", "val" or "test", in the order of `ids()`."""
        return np.asarray(np.array(SPLITS)[self._items.splits])

    def features(self, tap: str = "pooled", split: str | None = None, *, view: int = 0) -> np.ndarray:
        """Returns the features of a tap: (n, ...) float32, in the order of `ids`.

        Args:
            tap: one of `taps`.
            split: "train", "val" or "test"; None for all.
            view: 0 is the clean image, 1 to `views` are its augmented views.

        Raises:
            UnknownNameError: there is no such tap.
            ConfigError: there is no such view.
            RamLimitError: the features do not fit into memory; `blocks` reads them block by block.
            BankDamagedError: a shard is missing or not what featurebank wrote.
        """
        positions = self._positions(split)
        shape = (len(positions), *self.tap_shape(tap))
        self._check_memory(tap, 4 * int(np.prod(shape)))
        return self._rows.read(tap, view, positions)

    def rows(self, tap: str, positions: Sequence[int] | np.ndarray, *, view: int = 0) -> np.ndarray:
        """Returns the features of some images: (n, ...) float32.

        Args:
            tap: one of `taps`.
            positions: (n,) positions in `ids()`.
            view: 0 is the clean image, 1 to `views` are its augmented views.

        Raises:
            UnknownNameError, ConfigError, RamLimitError, BankDamagedError: see `features`.
        """
        self._check_memory(tap, 4 * int(np.prod((len(positions), *self.tap_shape(tap)))))
        return self._rows.read(tap, view, np.asarray(positions, np.int64))

    def blocks(
        self,
        tap: str = "pooled",
        split: str | None = None,
        *,
        view: int = 0,
        seed: int | None = None,
        block_bytes: int | None = None,
    ) -> Iterator[RowBlock]:
        """Yields the features of a tap block by block, so that they need not fit into memory.

        On disk, rows are sorted by the digests of their images, which is random with respect to class and name. So
        with a seed, whole shards are read, several at a time and in random order, and shuffled in memory.

        Args:
            tap: one of `taps`.
            split: "train", "val" or "test"; None for all.
            view: 0 is the clean image, 1 to `views` are its augmented views.
            seed: seed of the order; use another one for each epoch. None keeps the order of `ids`.
            block_bytes: the largest size of a block (with a seed, at least one shard); default 256 MiB, or an eighth
                of `--ram`.

        Yields:
            Blocks that together hold every image exactly once.

        Raises:
            UnknownNameError, ConfigError, BankDamagedError: see `features`.

        Example:
            >>> for block in bank.blocks("map", "train", seed=0):  # doctest: +SKIP
            ...     model.partial_fit(block.features, block.labels)
        """
        positions = self._positions(split)
        limit = block_bytes or min(BLOCK_BYTES, runtime.ram_limit() // 8)
        row_bytes = max(1, 4 * int(np.prod(self.tap_shape(tap))))
        generator = None if seed is None else np.random.default_rng(seed)
        for group in self._rows.groups(tap, view, positions, max(1, limit // row_bytes), generator):
            features = self._rows.read(tap, view, positions[group])
            yield RowBlock(features, np.asarray(self._items.labels[positions[group]]), group)

    def to_hdf5(self, file: str | Path, tap: str = "pooled", *, view: int = 0) -> Path:
        """Writes one plain HDF5 file: `features`, `labels`, `ids`, `splits` and `classes`.

        Args:
            file: where to write; an existing file is replaced once the new one is complete.
            tap: one of `taps`.
            view: 0 is the clean image, 1 to `views` are its augmented views.

        Returns:
            The path of the file.

        Raises:
            DiskFullError: no space is left on the disk; an existing file stays.
            UnknownNameError, ConfigError, BankDamagedError: see `features`.
        """
        return plain_files.write_hdf5(Path(file), self._columns(), self.tap_shape(tap), self._in_order(tap, view))

    def to_npz(self, file: str | Path, tap: str = "pooled", *, view: int = 0) -> Path:
        """Writes one NPZ file with the arrays of `to_hdf5`; see there."""
        return plain_files.write_npz(Path(file), self._columns(), self.tap_shape(tap), self._in_order(tap, view))

    def _columns(self) -> dict[str, np.ndarray]:
        return {
            "labels": self.labels(), "ids": np.array(self.ids(), dtype="U"), "splits": self.splits(),
            "classes": np.array(self.classes, dtype="U"),
        }  # fmt: skip

    def _in_order(self, tap: str, view: int) -> Iterator[np.ndarray]:
        return (block.features for block in self.blocks(tap, view=view, block_bytes=64 << 20))

    def _positions(self, split: str | None) -> np.ndarray:
        if split is None:
            return np.arange(len(self))
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return np.flatnonzero(self._items.splits == SPLITS.index(split))

    def _check_memory(self, tap: str, size: int) -> None:
        if size > (limit := runtime.ram_limit()):
            message = (
                f"the features of tap '{tap}' need {size / 1e9:.2f} GB of memory, the limit is {limit / 1e9:.2f} GB: "
                "use a larger --ram or a smaller tap, or read them block by block with Bank.blocks"
            )
            raise RamLimitError(message)


def _load(path: Path) -> tuple[Manifest, Items]:
    """Reads the manifest and the item table, again if a writer replaced them between the two reads."""
    failed: list[Manifest] = []
    while True:
        manifest = load_manifest(path)
        if manifest.items is None:
            rows = sum(shard.rows for shard in manifest.shards)
            message = (
                f"extraction into '{path}' has not finished ({counted(rows, 'row')} so far): "
                "run the same 'featurebank extract' again, which continues it"
            )
            raise BankIncompleteError(message)
        try:
            return manifest, load_items(path, manifest)
        except BankDamagedError:
            if failed.count(manifest) == _TRIES:  # a writer may have changed labels and changed them back meanwhile
                raise
            failed.append(manifest)


def open_bank(path: str | Path) -> Bank:
    """Opens a bank for reading; see `Bank`.

    Example:
        >>> open_bank("cache/photos-lite0-224px-0123456789ab").classes  # doctest: +SKIP
        ('cat', 'dog')
    """
    return Bank(path)
