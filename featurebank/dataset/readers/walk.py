"""Lists the images below a folder: by suffix, at any depth, without hidden and system files."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from featurebank.dataset.fingerprint import reason
from featurebank.errors import DatasetError

HEIC_SUFFIXES = frozenset({"heic", "heif"})
"""Suffixes that need the package pillow-heif."""

SUFFIXES = frozenset(
    {
        "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm",
        "jp2", "j2k", "avif", *(HEIC_SUFFIXES if importlib.util.find_spec("pillow_heif") else ()),
    }
)  # fmt: skip
"""Suffixes of images, in any case."""

SYSTEM_FOLDERS = frozenset(
    {
        "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "@sharebin", "#recycle", "#snapshot",
        "$recycle.bin", "system volume information", "lost+found", "__macosx", "__pycache__",
    }
)  # fmt: skip
"""Folders of network disks, operating systems and archives, in any case: thumbnails, deleted files."""

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"})

_NAMED = 5
_DEEPEST = 5
"""Folders below this level cannot be class folders, and need not be stored."""


@dataclass
class Listing:
    """The content of a folder.

    Args:
        files: the images, as paths relative to the root, with "/".
        folders: possible class folders, written so that JSON can hold them.
        others: number of files by suffix that are not images, in folders below the root.
        notes: notes for the user.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def image_files(directory: str) -> list[str]:
    """Returns the paths of all images below a directory, sorted.

    Raises:
        DatasetError: there are no images, or a folder cannot be listed.
    """
    listing = list_images(directory)
    if not listing.files:
        raise no_images(directory, listing)
    return [f"{directory.rstrip('/') or ''}/{name}" for name in sorted(listing.files)]


def list_images(root: str) -> Listing:
    """Lists the images at any depth; each real directory once, by its own path rather than by a link.

    Raises:
        DatasetError: a folder cannot be listed.
    """
    listing = Listing()
    folders, links = [""], list[str]()
    visited: set[tuple[int, int]] = set()
    while folders or links:
        linked = not folders
        if linked:  # sorted in reverse, because the last one is taken first
            links.sort(reverse=True)
        name = links.pop() if linked else folders.pop()
        try:
            status = os.stat(f"{root}/{name}")  # noqa: PTH116 - pathlib is too slow for a million folders
            if (status.st_dev, status.st_ino) in visited:
                listing.notes.append(f"folder '{shown(name)}' is a link to one that is already listed: omitted")
                with contextlib.suppress(ValueError):  # a deep folder is not in the list
                    listing.folders.remove(shown(name))  # so that it does not count as an empty folder, too
                continue
            visited.add((status.st_dev, status.st_ino))
            _scan(root, name, listing, folders, links)
        except OSError as error:
            message = (
                f"cannot list the folder '{root}/{shown(name)}': {reason(error)}; "
                "repair it or move it away, so that no class is missed silently"
            )
            raise DatasetError(message) from error
    return listing


def no_images(root: str, listing: Listing) -> DatasetError:
    """Returns the error for a folder without images."""
    others = f", found {_by_suffix(listing.others)}" if listing.others else ""
    searched = f"searched for the suffixes {' '.join(sorted(SUFFIXES))} at any depth"
    return DatasetError(f"no images in '{root}': {searched}{others}")


def unread_note(others: Mapping[str, int]) -> list[str]:
    """Returns a note about the files that are not images, if there are any."""
    total = sum(others.values())
    if not total:
        return []
    return [f"{total} {'file is' if total == 1 else 'files are'} not read: {_by_suffix(others)}"]


def shown(name: str) -> str:
    """Escapes the bytes of a name that are not UTF-8, so that JSON and HDF5 can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode(errors="backslashreplace")
    return name


def readable_ids(files: list[str]) -> dict[str, str]:
    """Replaces, in place, the names that are not valid Unicode; returns the real name of each replacement."""
    odd: dict[str, str] = {}
    strange = [index for index, name in enumerate(files) if not name.isascii() and shown(name) != name]
    used = set(files) if strange else set()
    for index in sorted(strange, key=files.__getitem__):
        name = shown(files[index])
        while name in used:
            name += "_"
        used.add(name)
        odd[name] = files[index]
        files[index] = name
    return odd


def _by_suffix(others: Mapping[str, int]) -> str:
    """Writes the number of files by suffix, the most frequent first, and how to read the images among them."""
    order = sorted(others.items(), key=lambda entry: (-entry[1], entry[0]))
    words = [f"{count} .{suffix}" if suffix else f"{count} without a suffix" for suffix, count in order[:_NAMED]]
    if rest := sum(count for _, count in order[_NAMED:]):
        words.append(f"{rest} others")
    remedy = " (pip install 'featurebank[heic]' reads .heic)" if HEIC_SUFFIXES & set(others) else ""
    return ", ".join(words) + remedy


def _scan(root: str, folder: str, listing: Listing, folders: list[str], links: list[str]) -> None:
    prefix = f"{folder}/" if folder else ""
    with os.scandir(f"{root}/{folder}") as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            kind = _kind(entry)
            if kind == "folder":
                if name.casefold() in SYSTEM_FOLDERS:
                    continue
                (links if entry.is_symlink() else folders).append(prefix + name)
                if prefix.count("/") < _DEEPEST:
                    listing.folders.append(shown(prefix + name))
            elif kind == "file":
                suffix = name.rpartition(".")[2].lower() if "." in name else ""
                if suffix in SUFFIXES:
                    listing.files.append(prefix + name)
                elif folder and name.casefold() not in SYSTEM_FILES:
                    listing.others[shown(suffix)] += 1


def _kind(entry: os.DirEntry[str]) -> str:
    if not entry.is_symlink():  # these know their kind without another access to the disk
        return "file" if entry.is_file() else "folder" if entry.is_dir() else "other"
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "file"  # a broken link: fingerprinting will report it
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"
