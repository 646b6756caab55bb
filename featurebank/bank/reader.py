"""The bank as its readers see it: features, labels, ids, splits and metadata of the images.

An open `Bank` is a snapshot: it reads the manifest and the item table once, and the features on demand. So any number
of processes can read a bank while another process writes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.manifest import load_tables
from featurebank.bank.pages.roles import RoleColumns
from featurebank.bank.plain_files import PlainFiles
from featurebank.bank.plots import BankPlots
from featurebank.bank.rows import RowBlock, StoredRows
from featurebank.dataset.splits import SPLIT_NAMES, SPLITS
from featurebank.errors import RamLimitError, unknown_name
from featurebank.system import runtime
from featurebank.system.html import never_fails
from featurebank.words import counted

BLOCK_BYTES = 256 << 20
"""Default size of the blocks of `Bank.blocks`; smaller if `--ram` is small."""


class Bank(RoleColumns, BankPlots, PlainFiles):
    """The features that one backbone computed for the images of one dataset, stored on disk.

    The features of a layer of the backbone are a tap; "pooled" is the output of its average pooling. What a writer
    changes after the bank was opened is not visible in the open bank.

    Args:
        path: the bank's directory.

    Raises:
        BankNotFoundError: the directory holds no bank.
        BankIncompleteError: the first extraction into the bank has not finished.
        BankDamagedError: the manifest or the item table has changed since featurebank wrote it.
        FormatVersionError: a newer featurebank wrote the bank.

    Example:
        >>> bank = Bank("cache/photos")
        >>> bank
        <Bank photos: 120 images of 3 classes, taps pooled>
        >>> bank.features("pooled", "train").shape, bank.labels("train")[:3], bank.ids("train")[:2]
        ((60, 8), array([1, 2, 0], dtype=int32), ['19.png', '41.png'])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest, self._items = load_tables(self.path)
        self._rows = StoredRows(self.path, self.manifest, self._items)

    def __repr__(self) -> str:
        images, classes = counted(len(self), "image"), counted(len(self.classes), "class")
        return f"<Bank {self.name}: {images} of {classes}, taps {', '.join(self.taps)}>"

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks; reads no feature."""
        from featurebank.bank.display import bank_html

        return bank_html(self)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def name(self) -> str:
        """The name of the bank's directory."""
        return self.path.name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Everything that a feature depends on beside the image: backbone, weights, preprocessing, size, precision."""
        return self.manifest.recipe

    @cached_property
    def digest(self) -> str:
        """The digest of all that heads are trained on: the recipe, the classes, and each image's content, label, split.

        The record of a run stores it, to identify the bank. The images' ids are not part of it, so that renamed files
        keep their runs.
        """
        return self._identity(self._items.content_digest)

    @cached_property
    def former_digest(self) -> str:
        """`digest` as earlier versions computed it, from the ids, too; the records of their runs store this value."""
        assert self.manifest.items is not None
        return self._identity(self.manifest.items["digest"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a label is an index into them."""
        return tuple(self.manifest.dataset["classes"])

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the taps that are stored for every image."""
        return self.manifest.taps

    @property
    def views(self) -> int:
        """The number of augmented views of every image. They are views 1 to `views`; view 0 is the clean image."""
        return self.manifest.views

    @property
    def skipped(self) -> tuple[Mapping[str, str], ...]:
        """The images of the dataset that have no features, because they cannot be used: `id` and `reason` of each."""
        return self.manifest.skipped

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Returns the shape of one image's features at a tap.

        Raises:
            UnknownNameError: the bank has no such tap.

        Example:
            >>> bank.tap_shape("pooled"), bank.tap_dtype("pooled"), bank.tap_bytes("pooled")
            ((8,), 'float32', 3840)
        """
        return self._rows.shards_with(tap)[0].taps[tap].shape

    def tap_dtype(self, tap: str) -> str:
        """Returns the dtype of a tap on disk: "float32" or "float16"."""
        return self._rows.shards_with(tap)[0].taps[tap].dtype

    def tap_bytes(self, tap: str) -> int:
        """Returns the size of a tap on disk in bytes, over all images and views."""
        per_row = int(np.prod(self.tap_shape(tap))) * np.dtype(self.tap_dtype(tap)).itemsize
        return per_row * sum(shard.rows for shard in self._rows.shards_with(tap))

    def ids(self, split: str | None = None) -> list[str]:
        """Returns the ids of the images: their paths relative to the dataset's root, or their indices in an array.

        Args:
            split: "train", "val", "test" or "unlabelled"; None for all.
        """
        if split is None:
            return list(self._items.ids)
        return list(self._items.ids_at(self._positions(split)))

    def ids_at(self, positions: Iterable[int]) -> list[str]:
        """Returns the ids of the images at some positions in `ids()`, without reading all of them."""
        return [self._items.ids[int(position)] for position in positions]

    def position(self, name: str) -> int:
        """Returns the position of an id in `ids()`, without reading all of them; -1 if there is no such image.

        Example:
            >>> bank.position(bank.ids()[3]), bank.position("no.png")
            (3, -1)
        """
        try:
            return self._items.ids.index(name)
        except ValueError:
            return -1

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns the number of images by split and class: {split: {class: number}}, with every split and class.

        Example:
            >>> bank.counts()["val"]
            {'class0': 10, 'class1': 10, 'class2': 10}
        """
        size = len(self.classes)
        rows = self._items.splits < len(SPLITS)  # images without a label are in no class
        cells = self._items.splits[rows].astype(np.int64) * size + self._items.labels[rows]
        table = np.bincount(cells, minlength=len(SPLITS) * size).reshape(len(SPLITS), size).tolist()
        return {split: dict(zip(self.classes, row, strict=True)) for split, row in zip(SPLITS, table, strict=True)}

    def digests(self, split: str | None = None) -> np.ndarray:
        """Returns the content digests of the images: (n,) "S32", in the order of `ids`."""
        return np.array(self._items.digests) if split is None else self._items.digests_at(self._positions(split))

    def labels(self, split: str | None = None) -> np.ndarray:
        """Returns the labels: (n,) int32, in the order of `ids`; -1 for images without one, see `label_names`."""
        return np.asarray(self._items.labels[self._positions(split)])

    def metadata(self, split: str | None = None) -> dict[str, np.ndarray]:
        """Returns the additional columns of a dataset that is a table: (n,) each, in the order of `ids`."""
        positions = self._positions(split)
        return {name: np.asarray(column[positions]) for name, column in self._items.metadata.items()}

    def splits(self) -> np.ndarray:
        """Returns the split of each image: (n,) of "train", "val", "test" or "unlabelled", in the order of `ids()`.

        Example:
            >>> bank.splits()[:2].tolist()
            ['test', 'train']
        """
        return np.asarray(np.array(SPLIT_NAMES)[self._items.splits])

    def features(self, tap: str = "pooled", split: str | None = None, *, view: int = 0) -> np.ndarray:
        """Returns the features of a tap: (n, ...) float32, in the order of `ids`.

        Args:
            tap: one of `taps`.
            split: "train", "val", "test" or "unlabelled"; None for all.
            view: 0 is the clean image, 1 to `views` are its augmented views.

        Raises:
            UnknownNameError: there is no such tap.
            ConfigError: there is no such view.
            RamLimitError: the features do not fit into memory; `blocks` reads them in parts.
            BankDamagedError: a shard is missing or damaged.

        Example:
            >>> bank.features("pooled", "val").shape
            (30, 8)
        """
        return self._read(tap, view, self._positions(split))

    def rows(self, tap: str, positions: Sequence[int] | np.ndarray, *, view: int = 0) -> np.ndarray:
        """Returns the features of some images: (n, ...) float32.

        Args:
            tap: one of `taps`.
            positions: (n,) positions in `ids()`.
            view: 0 is the clean image, 1 to `views` are its augmented views.

        Raises:
            UnknownNameError, ConfigError, RamLimitError, BankDamagedError: see `features`.

        Example:
            >>> bank.rows("pooled", [5, 0]).shape
            (2, 8)
        """
        return self._read(tap, view, np.asarray(positions, np.int64))

    def blocks(
        self,
        tap: str = "pooled",
        split: str | None = None,
        *,
        view: int = 0,
        seed: int | None = None,
        block_bytes: int | None = None,
    ) -> Iterator[RowBlock]:
        """Yields the features of a tap in blocks, so that they need not all fit into memory.

        With a seed, the order is random: each block holds a few shards, drawn at random, whose rows are shuffled in
        memory. Whole shards are read because random access to single rows is slow. The images of a shard are a random
        sample of all images, because rows are sorted by the digests of the images' contents.

        Args:
            tap: one of `taps`.
            split: "train", "val", "test" or "unlabelled"; None for all.
            view: 0 is the clean image, 1 to `views` are its augmented views.
            seed: determines the random order; pass another one for each epoch. None keeps the order of `ids`.
            block_bytes: the maximum size of a block in bytes, but with a seed a block holds at least one shard. The
                default is 256 MiB or an eighth of `--ram`, whichever is less.

        Yields:
            Blocks, which together hold every image exactly once.

        Raises:
            UnknownNameError, ConfigError, BankDamagedError: see `features`.

        Example:
            >>> for block in bank.blocks("pooled", "train", seed=0):
            ...     print(block.features.shape, block.labels.shape)  # or model.partial_fit(...)
            (60, 8) (60,)
        """
        positions = self._positions(split)
        limit = block_bytes or min(BLOCK_BYTES, runtime.ram_limit() // 8)
        row_bytes = max(1, 4 * int(np.prod(self.tap_shape(tap))))
        generator = None if seed is None else np.random.default_rng(seed)
        for group in self._rows.groups(tap, view, positions, max(1, limit // row_bytes), generator):
            features = self._rows.read(tap, view, positions[group])
            yield RowBlock(features, np.asarray(self._items.labels[positions[group]]), group)

    def _read(self, tap: str, view: int, positions: np.ndarray) -> np.ndarray:
        """Returns the features at positions in `ids()`; raises RamLimitError if they exceed `--ram`."""
        size = 4 * len(positions) * int(np.prod(self.tap_shape(tap)))
        if size > (limit := runtime.ram_limit()):
            message = (
                f"the features of tap '{tap}' need {size / 1e9:.2f} GB of memory, the limit is {limit / 1e9:.2f} GB: "
                "use a larger --ram or a smaller tap, or read them in parts with Bank.blocks"
            )
            raise RamLimitError(message)
        return self._rows.read(tap, view, positions)

    def _positions(self, split: str | None) -> np.ndarray:
        """Returns the positions of a split's images in `ids()`: (n,) int64."""
        if split is None:
            return np.arange(len(self))
        if split not in SPLIT_NAMES:
            raise unknown_name("split", split, SPLIT_NAMES)
        return np.flatnonzero(self._items.splits == SPLIT_NAMES.index(split))
