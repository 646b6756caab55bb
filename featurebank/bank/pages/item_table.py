"""Opens the table of images that a manifest lists: in pages, or in the one file of version 1."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurebank.bank.items import Items
from featurebank.bank.pages.item_runs import open_runs, run_entries
from featurebank.bank.pages.page import damaged, is_whole_page, unreadable
from featurebank.bank.pages.stored_items import REMEDY
from featurebank.bank.shard import are_counts
from featurebank.system import digest
from featurebank.system.files import path_inside, read_regular

EAGER_BYTES = 8 << 20
"""A table in pages of at most this size is read and checked as a whole when it is opened, a larger one lazily."""
FILE = "items-*.npz"
"""Pattern of the names of the tables of version 1."""


def check_listed(listed: Mapping[str, Any]) -> None:
    """Checks "items" of a manifest.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: no writer writes it.
    """
    texts = [listed["digest"]]
    if not are_counts(listed["count"]):
        message = "the number of its images is not a whole number"
        raise ValueError(message)
    if "pages" in listed:
        run_entries(listed)
    else:
        path_inside(Path(), listed["file"], FILE)
        texts.append(listed["checksum"])
    if not all(isinstance(text, str) for text in texts):
        message = "a checksum of the table of images is not a text"
        raise TypeError(message)


def item_files(listed: Mapping[str, Any] | None) -> set[str]:
    """Returns the names of the files of "items" of a manifest."""
    if listed is None:
        return set()
    return {page["file"] for page in listed["pages"]} if "pages" in listed else {listed["file"]}


def open_items(directory: Path, listed: Mapping[str, Any], classes: int | None) -> Items:
    """Opens a table of images.

    Args:
        directory: the bank's directory.
        listed: "items" of the manifest.
        classes: the number of classes; None for images without labels.

    Raises:
        BankDamagedError: it is missing or not what featurebank wrote; of a large table this shows on its first use.
        BankUnreadableError: the system cannot read it.
    """
    if "pages" not in listed:
        return _load_file(directory / listed["file"], listed["checksum"], classes)
    stored = open_runs(directory, listed, classes)
    if sum(page.entry.bytes for page in stored.pages) > EAGER_BYTES:
        return stored
    for file in item_files(listed):
        check_item_file(directory / file, listed)
    items = stored.loaded()
    try:
        items.check(classes)
    except ValueError as error:
        raise damaged(directory / stored.pages[0].entry.file, REMEDY) from error
    return items


def check_item_file(path: Path, listed: Mapping[str, Any]) -> None:
    """Compares every byte of a file of a table with its checksum.

    Args:
        path: the file.
        listed: "items" of the manifest.

    Raises:
        BankDamagedError: it is missing or its bytes have changed.
        BankUnreadableError: the system cannot read it.
    """
    if "pages" not in listed:
        _read_file(path, listed["checksum"])
    elif not all(is_whole_page(path.parent, entry) for entry in run_entries(listed) if entry.file == path.name):
        raise damaged(path, REMEDY)


def check_items(directory: Path, listed: Mapping[str, Any], classes: int | None) -> None:
    """Checks all values of a table, also of a large one; for arguments and errors see `open_items`."""
    items = open_items(directory, listed, classes)
    for column in (items.digests, items.labels, items.splits, items.ids, items.metadata):
        del column  # those of a large table are checked when they are used


def _load_file(path: Path, checksum: str, classes: int | None) -> Items:
    """Reads the table of version 1."""
    data = _read_file(path, checksum)
    try:
        items = Items.from_bytes(data)
        items.check(classes)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise damaged(path, REMEDY) from error
    return items


def _read_file(path: Path, checksum: str) -> bytes:
    try:
        data = read_regular(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise damaged(path, REMEDY) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if digest.of_bytes(data) != checksum:
        raise damaged(path, REMEDY)
    return data
