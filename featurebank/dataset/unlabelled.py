"""Images without labels, as programs have them: paths, or arrays of pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.decoding.decode import Facts
from featurebank.dataset.decoding.image_bytes import as_expected, with_digest
from featurebank.dataset.decoding.levels import Levels
from featurebank.dataset.fingerprint import Pixels
from featurebank.dataset.readers.walk import image_files
from featurebank.dataset.sources.arrays import Arrays
from featurebank.dataset.sources.paths import Paths
from featurebank.dataset.splits import DEFAULT_FRACTIONS, UNLABELLED
from featurebank.errors import DatasetError
from featurebank.system import digest

_RANKS = (3, 4)
_CHANNELS = 3
_EXPECTED = "expected paths of image files, or images (n, height, width) or (n, height, width, 3) uint8"


class ArrayList:
    """Images in memory, of different sizes.

    Args:
        images: (height, width) or (height, width, 3) uint8 each.
    """

    in_threads = False
    in_memory = True

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self._images = images

    def cut(self, indices: Sequence[int]) -> ArrayList:
        """Returns some of the images; see `featurebank.dataset.cutting`."""
        return ArrayList([self._images[index] for index in indices])

    def digest(self, index: int) -> str:
        """Returns the digest of the image as `image` returns it; see `featurebank.dataset.sources.arrays.Arrays`."""
        return digest.of_array(self.image(index, None))

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns a copy of one image: (h, w, 3) uint8; raises LostImageError if its digest is not the expected one."""
        image = self._images[index]
        whole = image.copy() if image.ndim == _CHANNELS else np.repeat(image[:, :, np.newaxis], 3, axis=2)
        return as_expected(whole, expected)

    def image_with_digest(self, index: int, levels: Levels | None = None) -> tuple[np.ndarray, bytes]:
        """Returns a copy of one image, with its digest."""
        return with_digest(self.image(index, None))

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns the properties of an image, from the shape of its array."""
        image = self._images[index]
        return Facts(image.shape[1], image.shape[0], "array", "RGB" if image.ndim == _CHANNELS else "L", rotated=False)


def unlabelled_images(images: Any, *, name: str = UNLABELLED) -> Dataset:
    """Makes a dataset of images without labels.

    Args:
        images: n paths or URLs (a list, an array or a column of a table), (n, h, w) or (n, h, w, 3) uint8, or n arrays
            of different sizes.
        name: name of the dataset.

    Returns:
        A dataset of one class, entirely in train; equal images share their content digest.

    Raises:
        DatasetError: `images` is none of these, or empty.

    Example:
        >>> unlabelled_images(np.zeros((3, 32, 32), np.uint8))
        <Dataset unlabelled: 3 images, 1 class>
    """
    ids, pixels = _read(images)
    codes = np.zeros(len(ids), np.int8)
    contents = Contents(
        name, UNLABELLED, (UNLABELLED,), tuple(ids), np.zeros(len(ids), np.int32), pixels, codes, labelled=False
    )
    return Dataset(contents, DEFAULT_FRACTIONS, 0)


def without_labels(dataset: Dataset, name: str) -> Dataset:
    """Returns the images of a dataset as a dataset of one class, entirely in train."""
    zeros = np.zeros(len(dataset), np.int32)
    contents = replace(
        dataset.contents, name=name, spec=UNLABELLED, classes=(UNLABELLED,), labels=zeros,
        predefined=zeros.astype(np.int8), labelled=False, metadata={}, subset={},
        weights=None,
        groups=None, group_rule="",
    )  # fmt: skip
    return Dataset(contents, DEFAULT_FRACTIONS, 0)


def expand_folders(images: Iterable[Any]) -> list[Any]:
    """Replaces each path of a folder by the paths of all images in it, sorted, at any depth."""
    expanded: list[Any] = []
    for image in images:
        is_folder = isinstance(image, str | os.PathLike) and os.path.isdir(image)  # noqa: PTH112 - of any text
        expanded += image_files(os.fspath(image)) if is_folder else [image]
    return expanded


def _read(images: Any) -> tuple[list[str], Pixels]:
    if isinstance(images, str | bytes | os.PathLike):
        message = f"images are {images!r}: {_EXPECTED}; put a single path into a list"
        raise DatasetError(message)
    collection = images if isinstance(images, np.ndarray) else _as_list(images)
    if not len(collection):
        message = f"there are no images: {_EXPECTED}"
        raise DatasetError(message)
    if isinstance(collection, np.ndarray) and collection.dtype.kind not in "OUS":
        _check(collection[0], f"an array of shape {collection.shape} and type {collection.dtype}", collection.ndim - 1)
        return [str(number) for number in range(len(collection))], Arrays(collection)
    entries = _column(collection)
    if all(isinstance(entry, str | os.PathLike) for entry in entries):
        return _paths(entries)
    for number, entry in enumerate(entries):
        array = isinstance(entry, np.ndarray)
        shown = f"shape {entry.shape} and type {entry.dtype}" if array else f"type {type(entry).__name__}"
        _check(entry, f"image {number} of {shown}", getattr(entry, "ndim", 0))
    return [str(number) for number in range(len(entries))], ArrayList(entries)


def _as_list(images: Any) -> Any:
    if hasattr(images, "toarray"):
        message = f"images are a sparse {type(images).__name__}: {_EXPECTED}"
        raise DatasetError(message)
    try:
        return np.asarray(images) if hasattr(images, "__array__") else list(images)
    except TypeError as error:
        message = f"images are of type {type(images).__name__}: {_EXPECTED}"
        raise DatasetError(message) from error


def _column(collection: Any) -> list[Any]:
    if isinstance(collection, np.ndarray):
        collection = collection.ravel() if collection.ndim == 2 and collection.shape[1] == 1 else collection  # noqa: PLR2004 - of a table
        return [str(entry) if isinstance(entry, np.str_) else entry for entry in collection]
    return list(collection)


def _paths(entries: Sequence[str | os.PathLike[str]]) -> tuple[list[str], Pixels]:
    names = [os.fspath(entry) for entry in entries]
    return names, Paths(str(Path.cwd()), names)


def _check(image: Any, shown: str, rank: int) -> None:
    image = np.asarray(image) if isinstance(image, np.ndarray) else image
    fine = (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and rank + 1 in _RANKS
        and (rank + 1 == _RANKS[0] or image.shape[-1] == _CHANNELS)
        and 0 not in image.shape
    )
    if not fine:
        message = f"images are {shown}: {_EXPECTED}"
        raise DatasetError(message)
