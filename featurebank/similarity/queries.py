"""What similar images are searched for: images of the bank, which need no network, and images of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.index import Finder
from featurebank.dataset import Dataset
from featurebank.dataset.pictures import is_local, path_of
from featurebank.dataset.remote.fetching import is_url
from featurebank.dataset.subset import SelectedPixels
from featurebank.dataset.unlabelled import expand_folders, unlabelled_images
from featurebank.errors import ConfigError, DatasetError, UnknownNameError, unknown_name
from featurebank.extraction.source_images import image_paths
from featurebank.extraction.unlabelled_features import features_like, unlabelled_name
from featurebank.similarity.search import as_vectors
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

_FEW = 8
"""Ids that are found faster one by one than by reading all ids."""
_MOST_COMPARED = 20_000
"""Ids that a misspelled one is compared with; more would take seconds."""


@dataclass(frozen=True)
class Query:
    """One image to search for."""

    name: str
    """The path or the id, as the user wrote it."""
    position: int = -1
    """The image itself in `Bank.ids()`; -1 if the bank does not have it."""
    row: int = -1
    """The row of the image in `Queries.images`; -1 if it was named by its id."""


@dataclass(frozen=True)
class Queries:
    """Images to search for."""

    items: tuple[Query, ...]
    images: Dataset | None = None
    """The images that were not named by their ids."""

    @classmethod
    def named(cls, names: Iterable[str | os.PathLike[str]], bank: Bank) -> Queries:
        """Returns images that are named by paths of files or folders, by URLs, or by ids of images of a bank.

        Raises:
            UnknownNameError: a name is none of these.
            DatasetError: there are no images.
            ConfigError: the bank has no images.
        """
        check_images(bank)
        entries = [os.fspath(entry) for entry in expand_folders(name for name in names if os.fspath(name))]
        if not entries:
            message = "there are no images: expected paths of images or folders, or ids of images of the bank"
            raise DatasetError(message)
        files = [entry for entry in entries if is_url(entry) or os.path.exists(entry)]  # noqa: PTH110 - of any text
        positions = _positions(bank, set(entries) - set(files))
        images = unlabelled_images(files) if files else None
        rows = {entry: row for row, entry in enumerate(files)}
        return cls(tuple(Query(name, positions.get(name, -1), rows.get(name, -1)) for name in entries), images)

    @classmethod
    def of(cls, images: Dataset) -> Queries:
        """Returns the images of a dataset."""
        return cls(tuple(Query(name, -1, row) for row, name in enumerate(images.ids)), images)

    def located(self, bank: Bank) -> Queries:
        """Returns the queries with the position of each that is an image of the bank: the same file, not a copy."""
        if self.images is None:
            return self
        own = _positions_of_files(self.images, bank)
        items = [replace(query, position=own.get(query.row, query.position)) for query in self.items]
        return replace(self, items=tuple(items))

    def digests(self, bank: Bank) -> list[bytes]:
        """Returns the content digest of each image."""
        stored, own = bank.digests(), None if self.images is None else self.images.digests
        return [bytes(stored[query.position] if own is None or query.row < 0 else own[query.row])
                for query in self.items]  # fmt: skip

    def vectors(self, bank: Bank, tap: str, *, reporter: Reporter = SILENT) -> np.ndarray:
        """Returns the features of each image, (n, d) float64; only images whose content the bank lacks are computed.

        Raises:
            DatasetError: an image cannot be read.
            WeightsError: the network of the bank cannot be loaded again.
            BankError: the bank cannot be read.
        """
        places = np.array([query.position for query in self.items])
        if self.images is not None:  # a copy of an image of the bank has its features
            rows = np.array([query.row for query in self.items])
            copies = Finder(bank.digests()).find(self.images.digests[rows])
            places = np.where((places < 0) & (rows >= 0), copies, places)
        known, missing = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        vectors = np.empty((len(self.items), bank.tap_shape(tap)[-1]))
        vectors[known] = as_vectors(bank.rows(tap, places[known]))
        if len(missing) and self.images is not None:
            images = _selected(self.images, [self.items[place].row for place in missing.tolist()], tap)
            vectors[missing] = as_vectors(features_like(bank, tap, images, reporter=reporter))
        return vectors


def check_images(bank: Bank) -> None:
    """Raises ConfigError if a bank has no images, or only images without labels."""
    if not bank.classes:
        message = f"bank '{bank.path}' holds images without labels: choose a bank of a dataset with --bank"
        raise ConfigError(message)
    if not len(bank) or not bank.taps:
        message = f"bank '{bank.path}' has no images to compare with: run 'featurebank extract' first"
        raise ConfigError(message)


def _positions(bank: Bank, names: set[str]) -> dict[str, int]:
    """Returns the positions of images by their ids."""
    if len(names) > _FEW:
        known = {name: position for position, name in enumerate(bank.ids()) if name in names}
        positions = {name: known.get(name, -1) for name in names}
    else:
        positions = {name: bank.position(name) for name in names}
    if unknown := sorted(name for name, position in positions.items() if position < 0):
        raise _unknown(unknown[0], bank)
    return positions


def _unknown(name: str, bank: Bank) -> UnknownNameError:
    """Returns the error for a name that is neither a file nor an id, with ids of files of that name or near ones."""
    ids = bank.ids()
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    alike = [known for known in ids if known == last or known.endswith(f"/{last}")] if last else []
    hint = f"expected the path of an image or of a folder, or the id of an image of bank '{bank.name}'"
    where = f"there is no such file or folder, and none of the bank's {counted(len(ids), 'id')} is near"
    return unknown_name("image", name, alike[:3] or ids[:_MOST_COMPARED], hint, where_listed=where)


def _positions_of_files(images: Dataset, bank: Bank) -> dict[int, int]:
    """Returns the position in `Bank.ids()` of each row whose file is an image of the bank, unchanged, and not a copy.

    Where images of the bank are is asked once for all rows: the answer may need the whole table of a dataset.
    """
    stored, own = bank.digests(), images.digests
    alike = np.flatnonzero(Finder(own).find(stored) >= 0)
    paths = image_paths(bank, bank.ids_at(alike))
    places = {
        (os.path.realpath(path), bytes(stored[place])): place
        for path, place in reversed(list(zip(paths, alike.tolist(), strict=True)))  # the first of equal ones stays
        if path is not None and is_local(path)
    }
    rows = {row: path_of(images, row) for row in range(len(images))}
    found = {
        row: places.get((os.path.realpath(path), bytes(own[row])), -1)
        for row, path in rows.items()
        if path is not None and not is_url(path)
    }
    return {row: place for row, place in found.items() if place >= 0}


def _selected(images: Dataset, rows: Sequence[int], tap: str) -> Dataset:
    """Returns some of the images, as a dataset whose features have their bank."""
    places, codes = np.asarray(rows, np.int64), np.zeros(len(rows), np.int32)
    contents = replace(
        images.contents, name=unlabelled_name(tap), ids=tuple(images.ids[row] for row in rows), labels=codes,
        pixels=SelectedPixels(images.contents.pixels, places), predefined=codes.astype(np.int8),
    )  # fmt: skip
    return Dataset(contents, images.fractions, images.seed)
