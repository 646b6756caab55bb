"""Datasets that are folders: CLASS/IMAGE, or train/CLASS/IMAGE with val and test beside it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

import numpy as np

from featurebank import digest
from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.decode import Facts, decode_expected
from featurebank.dataset.fingerprint import Stamp, reason
from featurebank.dataset.memory import stamp_of
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import BadImageError, DatasetError
from featurebank.files import read_regular

SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"})
"""What makes a file an image, in any case."""

SPLIT_FOLDERS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "test": TEST,
    "testing": TEST,
}

_LAYOUT = "expected FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with val and test beside train"
_MOST_BYTES = 1 << 30
"""Of an image file."""


@dataclass
class _Listing:
    files: list[str] = field(default_factory=list)  # relative to the root, with "/"
    folders: list[str] = field(default_factory=list)  # those that may be class folders
    notes: list[str] = field(default_factory=list)


class Files:
    """Images in files below one root.

    Args:
        root: an absolute path.
        ids: paths relative to the root with "/".
        odd: the real relative paths of the ids that are not written as they are.
    """

    in_threads = True

    def __init__(self, root: str, ids: tuple[str, ...], odd: dict[str, str]) -> None:
        self.root = root
        self._ids = ids
        self._odd = odd

    def path(self, index: int) -> str:
        """Returns the path of an image."""
        name = self._ids[index]
        return f"{self.root}/{self._odd.get(name, name)}"

    def digest(self, index: int) -> str:
        """Returns the digest of a file's bytes; raises OSError where it cannot be read."""
        return digest.of_file(self.path(index), _MOST_BYTES)

    def stamp(self, index: int) -> Stamp | None:
        """Returns what tells that a file has not changed."""
        return stamp_of(self.path(index))

    def image(self, index: int, expected: bytes | None) -> np.ndarray:
        """Returns (height, width, 3) uint8; raises BadImageError, also if the file has not the digest expected."""
        return decode_expected(self._read(index), expected)[0]

    def facts(self, index: int, expected: bytes | None) -> Facts:
        """Returns what an image is; raises BadImageError as `image` does."""
        return decode_expected(self._read(index), expected)[1]

    def _read(self, index: int) -> bytes:
        try:
            return read_regular(self.path(index), _MOST_BYTES)
        except OSError as error:
            raise BadImageError(reason(error)) from error


def load(argument: str) -> Contents:
    """Lists a folder of class folders.

    A class is a first-level folder, and every image below it at any depth is of that class. If all first-level folders
    that hold images are called train, val or test (or valid, validation, training, testing), and train is among them,
    they are the splits, and the classes are one level further down. Hidden files and folders are not looked at.

    Args:
        argument: the folder's path; `~` is the home directory.

    Raises:
        DatasetError: the folder is missing, cannot be listed, or is not laid out like this.
    """
    root = absolute(argument)
    _check_root(root)
    listing = _walk(root)
    if not listing.files:
        message = f"no images in '{root}': looked for the suffixes {' '.join(sorted(SUFFIXES))} at any depth; {_LAYOUT}"
        raise DatasetError(message)
    odd = _readable_ids(listing.files)
    listing.files.sort()
    codes = _split_layout(root, listing)
    depth = 0 if codes is None else 1
    ids = tuple(_inside_classes(root, listing, depth))
    classes = tuple(sorted({name.split("/", depth + 1)[depth] for name in ids}))
    _note_empty(listing, classes, depth)
    label = {name: code for code, name in enumerate(classes)}
    labels = np.fromiter((label[name.split("/", depth + 1)[depth]] for name in ids), np.int32, len(ids))
    return Contents(
        name=path_name(root),
        spec=f"folder:{root}",
        classes=classes,
        ids=ids,
        labels=labels,
        pixels=Files(root, ids, odd),
        given=None if codes is None else _given(ids, codes),
        notes=tuple(listing.notes),
    )


def absolute(path: str) -> str:
    """Returns an absolute path, without following links: the user's own name for the place is kept.

    Raises:
        DatasetError: the path is not valid Unicode, so that it could be written into no file.
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
        message = f"'{root}' is not a folder: expected a folder of class folders; give the folder that holds them"
        raise DatasetError(message)


def _walk(root: str) -> _Listing:
    """Lists the images at any depth; each real directory once, by its own path rather than by a link to it."""
    listing = _Listing()
    folders, links = [""], list[str]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        linked = not folders
        if linked:  # the last first, as the list is in reverse order
            links.sort(reverse=True)
        name = links.pop() if linked else folders.pop()
        try:
            status = os.stat(f"{root}/{name}")  # noqa: PTH116 - an object a folder is too slow for a million of them
            if (status.st_dev, status.st_ino) in seen:
                listing.notes.append(f"folder '{_shown(name)}' is a link to one that is listed already: left out")
                continue
            seen.add((status.st_dev, status.st_ino))
            _scan(root, name, listing, folders, links)
        except OSError as error:
            message = (
                f"cannot list the folder '{root}/{_shown(name)}': {reason(error)}; "
                "mend it or move it away, so that no class is missed in silence"
            )
            raise DatasetError(message) from error
    return listing


def _scan(root: str, folder: str, listing: _Listing, folders: list[str], links: list[str]) -> None:
    prefix = f"{folder}/" if folder else ""
    with os.scandir(f"{root}/{folder}") as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else folders).append(prefix + name)
                if prefix.count("/") <= 1:
                    listing.folders.append(_shown(prefix + name))
            elif kind == "file" and "." in name and name.rpartition(".")[2].lower() in SUFFIXES:
                listing.files.append(prefix + name)


def _kind(entry: os.DirEntry[str]) -> str:
    if not entry.is_symlink():  # these know their kind without asking the disk again
        return "file" if entry.is_file() else "folder" if entry.is_dir() else "other"
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "file"  # a link to nowhere: fingerprinting will say so
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def _shown(name: str) -> str:
    """Writes the bytes of a name that are not UTF-8 as backslash and digits, so that JSON and HDF5 can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode(errors="backslashreplace")
    return name


def _readable_ids(files: list[str]) -> dict[str, str]:
    """Replaces, in place, the names that are not valid Unicode; returns the real name of each."""
    odd: dict[str, str] = {}
    strange = [index for index, name in enumerate(files) if not name.isascii() and _shown(name) != name]
    taken = set(files) if strange else set()
    for index in sorted(strange, key=files.__getitem__):
        name = _shown(files[index])
        while name in taken:
            name += "_"
        taken.add(name)
        odd[name] = files[index]
        files[index] = name
    return odd


def _split_layout(root: str, listing: _Listing) -> dict[str, int] | None:
    """Returns the split code of each first-level folder, or None if these are classes.

    Raises:
        DatasetError: there is no folder with images in it.
    """
    first = sorted({name.split("/", 1)[0] for name in listing.files if "/" in name})
    if not first:
        message = f"images lie directly in '{root}', in no class folder: {_LAYOUT}"
        raise DatasetError(message)
    codes = {name: SPLIT_FOLDERS[name.casefold()] for name in first if name.casefold() in SPLIT_FOLDERS}
    if TRAIN not in codes.values():
        return None
    if len(codes) == len(first):
        return codes
    others = [name for name in first if name not in codes]
    if len(codes) > 1:
        listing.notes.append(
            f"folders {', '.join(codes)} are taken for classes, not for splits, because '{others[0]}' lies beside them"
        )
    return None


def _inside_classes(root: str, listing: _Listing, depth: int) -> list[str]:
    """Returns the ids that lie in a class folder, and notes how many do not."""
    inside = [name for name in listing.files if name.count("/") > depth]
    if not inside:
        message = f"images lie directly in '{root}/{listing.files[0].split('/')[0]}', in no class folder: {_LAYOUT}"
        raise DatasetError(message)
    if loose := len(listing.files) - len(inside):
        example = next(name for name in listing.files if name.count("/") <= depth)
        number = "1 image lies" if loose == 1 else f"{loose} images lie"
        listing.notes.append(f"{number} outside the class folders, the first is '{example}': left out")
    return inside


def _note_empty(listing: _Listing, classes: tuple[str, ...], depth: int) -> None:
    known = set(classes)
    for name in sorted(listing.folders):
        parts = name.split("/")
        if len(parts) == depth + 1 and parts[depth] not in known:
            listing.notes.append(f"folder '{name}' holds no images: it is no class")


def _given(ids: tuple[str, ...], codes: dict[str, int]) -> np.ndarray | None:
    if set(codes.values()) == {TRAIN}:
        return None  # nothing is held out, so that no split is given really
    return np.fromiter((codes[name.split("/", 1)[0]] for name in ids), np.int8, len(ids))
