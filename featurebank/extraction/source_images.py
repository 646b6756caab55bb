"""Finds the images of a bank again: by the dataset that its manifest names, and by their content."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.backbone.resize import resize_image
from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.dataset import Dataset, DatasetOptions, announced_dataset, load_images
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.dataset.grouping.components import GROUP, GROUPS
from featurebank.dataset.pictures import PictureSource, is_local, local_paths, path_of, picture_of, picture_of_file
from featurebank.dataset.values.files import is_listed, listed_again
from featurebank.dataset.values.registry import is_registered
from featurebank.errors import BadImageError, DatasetError, FeatureBankError
from featurebank.system.parallel import ordered_map
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import ram_limit
from featurebank.words import counted, one_line


def source_dataset(bank: Bank) -> Dataset:
    """Loads the dataset of a bank as it is now.

    Raises:
        FeatureBankError, OSError: the dataset does not exist any more.
    """
    record = bank.manifest.dataset
    if is_listed(record["spec"]) and not is_registered(record["spec"]):
        groups = None if bank.groups() is None else bank.metadata()[GROUP]
        return listed_again(bank.ids(), bank.labels(), bank.classes, groups, record.get(GROUPS, ""))
    try:
        return load_images(record["spec"], _options(record))
    except (LookupError, TypeError, AttributeError) as error:  # a stranger's bank, or a newer featurebank's
        if isinstance(error, FeatureBankError):
            raise
        message = f"the dataset record of '{bank.name}' is not understood ({type(error).__name__}: {error})"
        raise DatasetError(message) from error


def _options(record: Mapping[str, Any]) -> DatasetOptions:
    """Returns the options that load a dataset again as a bank recorded it."""
    subset = {name: value for name, value in record.get("subset", {}).items() if value is not None}
    return DatasetOptions(split=record["fractions"], seed=record["seed"], groups=record.get(GROUPS), **subset)


def image_paths(bank: Bank, ids: Sequence[str]) -> Sequence[str | None]:
    """Returns where images of a bank should be, whether they are still there or not; None where that is unknown.

    Args:
        bank: the bank.
        ids: ids of images.
    """
    spec = str(bank.manifest.dataset.get("spec", ""))
    paths = local_paths(spec, ids)
    if not paths or paths[0] is None or spec.startswith("folder:") or _is_elsewhere(bank) or is_present(paths[0]):
        return paths
    try:  # the images of a list or a table may be in another folder, which only reading it shows
        dataset = source_dataset(bank)
    except (FeatureBankError, OSError):
        return paths
    places = {name: place for place, name in enumerate(dataset.ids)}
    return [path_of(dataset, places[name]) if name in places else None for name in ids]


def is_present(path: str | None) -> bool:
    """Returns whether a path of `image_paths` names a file of this machine; no other machine is asked."""
    return path is not None and is_local(path) and os.path.isfile(path)  # noqa: PTH113 - of any text


def _is_elsewhere(bank: Bank) -> bool:
    """Returns whether loading the dataset of a bank would ask another machine."""
    record = bank.manifest.dataset
    specs = [record.get("spec", ""), (record.get("subset") or {}).get("test") or ""]
    return any(
        announced_dataset(spec) is not None or not all(map(is_local, (spec, *spec.partition(":")[2].split(","))))
        for spec in map(str, specs)
    )


def picture_sources(bank: Bank, positions: Sequence[int]) -> list[PictureSource]:
    """Returns where the pictures of some images of a bank come from; nothing is read that is not on this machine.

    Args:
        bank: the bank.
        positions: of the images in `bank.ids()`.
    """
    spec = str(bank.manifest.dataset.get("spec", ""))
    ids, digests = bank.ids_at(positions), bank.digests()[np.asarray(positions, np.int64)].tolist()
    held_out = (bank.manifest.dataset.get("subset") or {}).get("test")  # other images, with ids that are no paths here
    paths = [] if held_out else image_paths(bank, ids)
    if any(paths):
        return [picture_of_file(path, own) for path, own in zip(paths, digests, strict=True)]
    if not spec:
        return ["the bank does not say where its images are"] * len(ids)
    if _is_elsewhere(bank):
        return ["the dataset is not on this machine"] * len(ids)
    try:
        dataset = source_dataset(bank)
    except (FeatureBankError, OSError) as error:
        return [f"the dataset cannot be read: {one_line(error)}"] * len(ids)
    rows = {name: row for row, name in enumerate(dataset.ids)}
    return [picture_of(dataset, rows.get(name), own) for name, own in zip(ids, digests, strict=True)]


def unchanged(
    bank: Bank, dataset: Dataset, rows: int, seed: int = 0, *, splits: Sequence[str] = ()
) -> list[tuple[int, int]]:
    """Samples images whose content has not changed since their features were computed.

    Args:
        bank: the bank.
        dataset: the dataset of `source_dataset`.
        rows: number of images; if there are fewer, all of them.
        seed: seed of the sample.
        splits: the splits to sample from; empty for all.

    Returns:
        The position of each image in `bank.ids()` and in `dataset.ids`.
    """
    place = {name: index for index, name in enumerate(dataset.ids)}
    digests, ids = bank.digests(), bank.ids()
    positions = np.random.default_rng(seed).permutation(len(ids))
    if splits:
        positions = positions[np.isin(bank.splits()[positions], list(splits))]
    pairs: list[tuple[int, int]] = []
    for position in positions.tolist():
        if len(pairs) == rows:
            break
        index = place.get(ids[position])
        if index is not None and _is_same(dataset, index, digests[position]):
            pairs.append((position, index))
    return pairs


class SourceImages:
    """All images of some splits of a bank, at its network's size, in the order of `bank.ids(split)`, split by split.

    The images are decoded once and kept in memory if they need less than half of `--ram`; otherwise each time.

    Args:
        bank: the bank.
        splits: the names of the splits.
        positions: (n,) positions in `bank.ids()` of those of them to read; None for all.
        reporter: receives the progress.

    Raises:
        DatasetError: images have gone or changed since their features were computed.
    """

    def __init__(
        self, bank: Bank, splits: Sequence[str], *, positions: np.ndarray | None = None, reporter: Reporter = SILENT
    ) -> None:
        if positions is None:
            positions = np.concatenate([positions_in(bank, split) for split in splits])
        self.labels = bank.labels()[positions]
        """(n,) int32."""
        self.digests = bank.digests()[positions]
        self.size = int(bank.recipe["image_size"])
        """Side of the images in pixels."""
        self._rule = str(bank.recipe["resize"])
        self._levels = parse_levels(bank.recipe.get("levels"))
        self._bank_name = bank.name
        self._ids = bank.ids_at(positions)
        self._dataset = _again(bank)
        self._indices = self._find()
        self._pixels = self._read(reporter)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def in_memory(self) -> bool:
        """Whether the images are kept in memory."""
        return self._pixels is not None

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Returns some of the images: (b, s, s, 3) uint8.

        Args:
            rows: (b,) positions of the images.

        Raises:
            DatasetError: an image has gone or changed.
        """
        if self._pixels is not None:
            return np.asarray(self._pixels[rows])
        return np.stack([self._image(row) for row in rows.tolist()])

    def _find(self) -> list[int]:
        place = {name: index for index, name in enumerate(self._dataset.ids)}
        missing = [name for name in self._ids if name not in place]
        if missing:
            raise self._missing_error(missing[0], len(missing))
        return [place[name] for name in self._ids]

    def _read(self, reporter: Reporter) -> np.ndarray | None:
        """Reads every image once; returns all of them if they fit into memory."""
        shape = (len(self), self.size, self.size, 3)
        pixels = np.empty(shape, np.uint8) if int(np.prod(shape)) <= ram_limit() // 2 else None

        def look(row: int) -> bool:
            try:
                image = self._image(row)
            except DatasetError:
                return False
            if pixels is not None:
                pixels[row] = image
            return True

        sound = []
        with reporter.track("read", len(self), "images") as advance:
            for is_sound in ordered_map(look, range(len(self)), name="originals"):
                sound.append(is_sound)
                advance(1)
        if not all(sound):
            raise self._missing_error(self._ids[sound.index(False)], sound.count(False))
        return pixels

    def _image(self, row: int) -> np.ndarray:
        index = self._indices[row]
        try:
            with in_flight():
                image = self._dataset.image(index, self._levels, bytes(self.digests[row]))
                return resize_image(image, self.size, self._rule)
        except (OSError, BadImageError) as error:
            raise self._missing_error(self._ids[row], 1) from error

    def _missing_error(self, first: str, count: int) -> DatasetError:
        have = (
            f"{count} of {counted(len(self), 'image')} of '{self._bank_name}' have"
            if count > 1
            else f"image '{first}' has"
        )
        which = f" (the first: '{first}')" if count > 1 else ""
        message = (
            f"{have} gone or changed since extraction{which}: restore them in '{self._dataset.spec}', or run "
            "'featurebank extract' again and retrain the heads"
        )
        return DatasetError(message)


def _again(bank: Bank) -> Dataset:
    try:
        return source_dataset(bank)
    except (FeatureBankError, OSError) as error:
        reason = " ".join(str(error).split())
        message = f"the images of '{bank.name}' cannot be read again: {reason}"
        raise DatasetError(message) from error


def _is_same(dataset: Dataset, index: int, expected: bytes) -> bool:
    try:
        return dataset.content_digest(index) == expected
    except (OSError, BadImageError):
        return False
