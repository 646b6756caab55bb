"""Datasets that are folders: CLASS/IMAGE, train/CLASS/IMAGE with val and test beside it, or fold1/CLASS/IMAGE."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from featurebank.dataset.class_names import in_order
from featurebank.dataset.core import FOLD, Contents, path_name
from featurebank.dataset.decoding.image_bytes import ImageBytes
from featurebank.dataset.decoding.levels import Depths
from featurebank.dataset.fingerprint import Pixels, Stamp
from featurebank.dataset.fingerprint_cache import stamp_of
from featurebank.dataset.readers.folder_tree import tree_of
from featurebank.dataset.readers.layout import ClassTree, find_layout, place_files
from featurebank.dataset.readers.walk import Listing, list_images, no_images, readable_ids, unread_note
from featurebank.dataset.spec_options import join_options, split_options
from featurebank.dataset.splits import NO_LABEL, UNDECIDED, UNLABELLED, predefined_splits
from featurebank.dataset.unlabelled_option import in_unlabelled_folder, keeps_unlabelled, unlabelled_folders
from featurebank.errors import DatasetError
from featurebank.system import digest
from featurebank.system.files import read_regular

_MOST_BYTES = 1 << 30
"""Largest image file in bytes."""


class Files(ImageBytes):
    """Images in files below one root.

    Args:
        root: an absolute path.
        ids: paths relative to the root with "/".
        odd: the real relative paths of the ids that had to be escaped.
    """

    in_threads = True

    def __init__(self, root: str, ids: tuple[str, ...], odd: dict[str, str]) -> None:
        self.root = root
        self._ids = ids
        self._odd = odd
        self.depths = Depths()

    def path(self, index: int) -> str:
        """Returns the path of an image."""
        name = self._ids[index]
        return f"{self.root}/{self._odd.get(name, name)}"

    def digest(self, index: int) -> str:
        """Returns the digest of a file's bytes; raises OSError if they cannot be read."""
        return digest.of_file(self.path(index), _MOST_BYTES)

    def stamp(self, index: int) -> Stamp | None:
        """Returns the stamp of a file; see `featurebank.dataset.fingerprint_cache`."""
        return stamp_of(self.path(index))

    def cut(self, indices: Sequence[int]) -> Pixels:
        """Returns some of the images; see `featurebank.dataset.cutting`."""
        ids = tuple(self._ids[index] for index in indices)
        return Files(self.root, ids, {name: self._odd[name] for name in ids if name in self._odd})

    def _bytes(self, index: int, expected: bytes | None = None) -> bytes:
        return read_regular(self.path(index), _MOST_BYTES)


def load(argument: str) -> Contents:
    """Lists a folder of class folders.

    A class is a folder, and every image below it, at any depth, belongs to that class. Folders named train, val and
    test (in any usual spelling) that contain class folders are splits. Numbered folders that contain the same class
    folders are folds; see `featurebank.dataset.readers.layout`. Hidden and system files are ignored.

    Args:
        argument: the folder's path; `~` is the home directory. A following "#layout=classes" or "#layout=splits" states
            the meaning of its subfolders, if they are ambiguous; "#unlabelled=keep" says that images in folders named
            "unlabelled" have no label.

    Raises:
        DatasetError: the folder is missing, cannot be listed, or is not laid out like this.
    """
    path, options = split_options(argument, ["layout", UNLABELLED])
    root = absolute(path)
    listing, odd = _list(root)
    keep = keeps_unlabelled(options.get(UNLABELLED))
    unlabelled = set(filter(in_unlabelled_folder, listing.files)) if keep else set()
    files = [name for name in listing.files if name not in unlabelled]
    layout = find_layout(root, tree_of(files), options.get("layout"))
    places = place_files(files, layout.parts)
    place_of = {name: place for name, place in zip(files, places, strict=True) if place}
    ids = tuple(name for name in listing.files if name in place_of or name in unlabelled)
    placed = [place_of.get(name, (ClassTree(""), "")) for name in ids]
    classes, labels = _classes([name for _, name in placed])
    notes = [
        *layout.notes,
        *_unplaced(files, places, layout.left_out),
        *listing.notes,
        *_empty(listing, layout.parts, set(classes) | unlabelled_folders(unlabelled)),
    ]
    return Contents(
        name=path_name(root),
        spec=join_options(f"folder:{root}", options),
        classes=classes,
        ids=ids,
        labels=labels,
        pixels=Files(root, ids, odd),
        predefined=predefined_splits([UNDECIDED if part.split is None else part.split for part, _ in placed], labels),
        notes=(*notes, *unread_note(listing.others)),
        metadata=_folds([part.fold for part, _ in placed]),
    )


def _list(root: str) -> tuple[Listing, dict[str, str]]:
    """Returns the images below a folder, sorted by id, and the names of files whose ids differ from them."""
    _check_root(root)
    listing = list_images(root)
    if not listing.files:
        raise no_images(root, listing)
    odd = readable_ids(listing.files)
    listing.files.sort()
    return listing, odd


def _classes(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the classes, and the label of each image, (n,) int32, by the names of their classes; "" is none."""
    classes = in_order(set(names) - {""})
    code = {"": NO_LABEL, **{name: number for number, name in enumerate(classes)}}
    return classes, np.fromiter((code[name] for name in names), np.int32, len(names))


def absolute(path: str) -> str:
    """Returns an absolute path without following links, so that the user's own name for the place stays.

    Raises:
        DatasetError: the path is not valid Unicode, so that no file could hold it.
    """
    full = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - pathlib cannot take out ".." without following links
    try:
        full.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(full).decode(errors="backslashreplace")
        message = f"the path '{shown}' is not valid UTF-8: rename the folder"
        raise DatasetError(message) from None
    return full


def _check_root(root: str) -> None:
    if not os.path.lexists(root):
        message = f"there is no folder '{root}': expected a folder of class folders; check the path"
        raise DatasetError(message)
    if not os.path.isdir(root):  # noqa: PTH112 - strings throughout this module
        message = f"'{root}' is not a folder: expected a folder of class folders; use the folder that holds them"
        raise DatasetError(message)


def _unplaced(
    files: Sequence[str], places: Sequence[tuple[ClassTree, str] | None], folders: Sequence[str]
) -> list[str]:
    """Returns a note about the images outside class folders, except in folders that have their own note."""
    prefixes = tuple(f"{folder}/" for folder in folders)
    outside = [name for name, place in zip(files, places, strict=True) if not (place or name.startswith(prefixes))]
    if not outside:
        return []
    number = "1 image lies" if len(outside) == 1 else f"{len(outside)} images lie"
    return [f"{number} outside the class folders, the first is '{outside[0]}': omitted"]


def _empty(listing: Listing, parts: Iterable[ClassTree], known: set[str]) -> list[str]:
    """Returns a note about each folder beside the class folders that has no images.

    Args:
        listing: the content of the dataset's folder.
        parts: the folders that hold the class folders.
        known: the names of folders that have images.
    """
    places = {part.path for part in parts}
    beside = [name.rpartition("/") for name in sorted(listing.folders)]
    empty = [f"{place}/{last}" if place else last for place, _, last in beside if place in places and last not in known]
    return [f"folder '{name}' has no images: it is not a class" for name in empty]


def _folds(numbers: list[int | None]) -> dict[str, np.ndarray]:
    return {} if set(numbers) == {None} else {FOLD: np.array(numbers, np.int64)}
