"""The manifest of a bank, which lists everything that the bank holds. A file that it does not list does not count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from featurebank.bank.items import Items
from featurebank.bank.locks.writer_lock import PROTECTED, explain_conflict
from featurebank.bank.pages import item_runs, shard_pages
from featurebank.bank.pages.corrections import read_corrections
from featurebank.bank.pages.item_runs import write_items
from featurebank.bank.pages.item_table import FILE, check_listed, item_files, open_items
from featurebank.bank.pages.page import damaged, unreadable
from featurebank.bank.pages.shard_pages import ShardPage, listed_pages, listing, read_listing
from featurebank.bank.pieces.notes import note_files
from featurebank.bank.shard import ShardEntry, are_counts
from featurebank.errors import (
    BankDamagedError,
    BankIncompleteError,
    BankNotFoundError,
    FormatVersionError,
)
from featurebank.system import digest
from featurebank.system.backing.directories import refresh
from featurebank.system.files import json_bytes, path_inside, read_regular, write_json
from featurebank.words import counted

NEEDS: Mapping[int, str] = {1: "0.1.0", 2: "0.2.0"}
"""The first featurebank that reads each version of the format. All versions are read, the last is written."""
FORMAT_VERSION = max(NEEDS)
MANIFEST = PROTECTED
TABLES = (FILE, item_runs.PATTERN, shard_pages.PATTERN)
"""Patterns of the names of the tables beside the manifest."""
_RETRIES = 3
"""How often the tables are read again under an unchanged manifest before they are reported as damaged."""

_DETAILS: Mapping[str, type | tuple[type, ...]] = {
    "spec": str, "subset": Mapping, "fractions": (list, tuple), "seed": int, "classes": (list, tuple), "time": str,
    "weight": str, "groups": str, "added": int, "computed": int, "seconds": (int, float), "engine": str,
    "versions": Mapping,
}  # fmt: skip
"""The types of the values of a dataset and of an event that other modules read; every value may be missing."""
_MOST_NUMBER = 1e18


@dataclass(frozen=True)
class Manifest:
    """The content of a bank's `manifest.json`."""

    recipe: Mapping[str, Any]
    """Everything that decides the value of a feature; its digest is the bank's key."""
    dataset: Mapping[str, Any]
    """name, spec, classes, fractions and seed of the split, and subset. `weight` if the metadata column of this name
    has the weights of the images: what it is called in the dataset's table."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The user's own specification of the weights. Not part of the key."""
    shards: tuple[ShardEntry, ...] = ()
    items: Mapping[str, Any] | None = None
    """count and digest of the item table, and its pages (in version 1: its file and checksum); None until the first
    extraction has finished."""
    taps: tuple[str, ...] = ()
    """The taps that every item has."""
    views: int = 0
    """Number of augmented views of every item in each tap, besides the clean image."""
    skipped: tuple[Mapping[str, str], ...] = ()
    """Images without a row: id, reason, and the content digest if it could be read."""
    history: tuple[Mapping[str, Any], ...] = field(default=())
    """Events of the bank, oldest first: extractions that added rows, rows shared by other banks, clean-ups."""
    pages: tuple[ShardPage, ...] = field(default=(), compare=False)
    """Pages with the entries of some of the shards; those whose shards have left are not listed any more."""
    version: int = field(default=FORMAT_VERSION, compare=False)
    """The version of the format in which it was read; it is written in the last one."""

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError if the manifest holds something that no writer writes."""
        for part in (self.recipe, self.dataset, self.source, *self.skipped, *self.history):
            if not isinstance(part, Mapping):
                message = f"{part!r:.80} is not an object"
                raise TypeError(message)
        for part in (self.dataset, *self.history):
            _check_details(part)
        read_corrections(self.dataset)
        for name in (self.recipe["backbone"], self.dataset["name"]):
            path_inside(Path(), name)
        if self.items is not None:
            check_listed(self.items)
        _check_texts(*self.taps, *self.dataset["classes"], *(entry["id"] for entry in self.skipped))
        if not are_counts(self.views):
            message = "the number of its views is not a whole number"
            raise ValueError(message)

    @property
    def key(self) -> str:
        """The digest of the recipe."""
        return digest.of_recipe(self.recipe)

    @property
    def files(self) -> set[str]:
        """The names of the shards and of the tables."""
        return {shard.file for shard in self.shards} | self.tables

    @property
    def tables(self) -> set[str]:
        """The names of the pages of shards and of the files of the item table."""
        return {page.entry.file for page in listed_pages(self.shards, self.pages)} | item_files(self.items)

    @property
    def last_extraction(self) -> Mapping[str, Any] | None:
        """The event of the last extraction that computed something: added, seconds, engine, versions."""
        return next((event for event in reversed(self.history) if "added" in event), None)

    def save(self, directory: Path) -> None:
        """Writes the manifest to the disk, atomically."""
        value = {
            "format": "featurebank",
            "format_version": FORMAT_VERSION,
            "needs": NEEDS[FORMAT_VERSION],
            "key": self.key,
            "recipe": dict(self.recipe),
            "source": dict(self.source),
            "dataset": dict(self.dataset),
            "taps": list(self.taps),
            "views": self.views,
            "items": self.items,
            "shards": listing(self.shards, self.pages),
            "skipped": [dict(s) for s in self.skipped],
            "history": [dict(h) for h in self.history],
        }
        value["checksum"] = digest.of_recipe(value)
        with explain_conflict(directory):
            write_json(directory / MANIFEST, value)

    def with_items(self, directory: Path, items: Items, taps: tuple[str, ...], views: int) -> Manifest:
        """Writes the images that differ from the listed ones, and returns a manifest of all (not yet saved)."""
        return replace(self, items=write_items(directory, self.items, items), taps=taps, views=views)


def load_manifest(directory: Path, *, strict: bool = False) -> Manifest:
    """Reads the manifest of a bank.

    Args:
        directory: the bank's directory.
        strict: also refuse a file that holds the same value in other bytes (as blanks changed by a failing disk).

    Raises:
        BankNotFoundError: there is no manifest.
        FormatVersionError: a newer featurebank wrote it.
        BankDamagedError: it is not what featurebank wrote.
        BankUnreadableError: the system cannot read it.
    """
    path, failed = directory / MANIFEST, list[Any]()  # the values whose pages were missing or damaged
    while True:
        value = _read(path, strict=strict)
        try:
            return _parse(path, value)
        except BankDamagedError:
            # A writer may have replaced a page since the manifest was read.
            if value["format_version"] == 1 or failed.count(value) == _RETRIES:
                raise
            failed.append(value)
            refresh(directory)


def _read(path: Path, *, strict: bool) -> dict[str, Any]:
    """Reads the value of a manifest, whose checksum matches."""
    try:
        data = read_regular(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = (
            f"no bank at '{path.parent}': 'featurebank cache ls' lists the banks, 'featurebank extract' creates one"
        )
        raise BankNotFoundError(message) from error
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        value = json.loads(data.decode())
        version = value["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(version, int) or version not in NEEDS:
        raise _newer(path, value)
    if strict and data != json_bytes(value):
        raise _damaged(path)
    if value.pop("checksum", None) != digest.of_recipe(value):
        raise _damaged(path)
    return dict(value)


def _newer(path: Path, value: Mapping[str, Any]) -> BankDamagedError | FormatVersionError:
    version, needs = value["format_version"], value.get("needs")
    if not isinstance(version, int) or version < FORMAT_VERSION or needs in NEEDS.values():
        return _damaged(path)  # such a version has never existed
    remedy = f"install featurebank {needs} or newer" if needs else "install a newer featurebank"
    message = (
        f"'{path.parent}' has format version {version}, this featurebank reads {FORMAT_VERSION}: "
        f"{remedy} to read it, or choose another --cache"
    )
    return FormatVersionError(message)


def _parse(path: Path, value: Mapping[str, Any]) -> Manifest:
    try:
        shards, pages = read_listing(path.parent, value["shards"], _forget(path))
        return Manifest(
            recipe=value["recipe"],
            dataset=value["dataset"],
            source=value.get("source", {}),
            shards=shards,
            items=value["items"],
            taps=tuple(value["taps"]),
            views=value.get("views", 0),
            skipped=tuple(value["skipped"]),
            history=tuple(value["history"]),
            pages=pages,
            version=value["format_version"],
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # the checksum matches: a stranger wrote it
        reason = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        message = f"'{path}' was not written by featurebank ({reason}): {_forget(path)}"
        raise BankDamagedError(message) from error


def _check_texts(*values: object) -> None:
    if wrong := [value for value in values if not isinstance(value, str)]:
        message = f"{wrong[0]!r:.80} is not a text"
        raise TypeError(message)


def _check_details(part: Mapping[str, Any]) -> None:
    """Raises TypeError or ValueError if a dataset or an event has a value that no writer writes."""
    for name, kind in _DETAILS.items():
        value = part.get(name)
        if value is not None and not isinstance(value, kind):
            message = f"{name} is {value!r:.80}"
            raise TypeError(message)
        if isinstance(value, int | float) and not abs(value) < _MOST_NUMBER:
            message = f"{name} is too large"
            raise ValueError(message)


def load_items(directory: Path, manifest: Manifest) -> Items:
    """Reads the item table that a manifest lists.

    Raises:
        BankDamagedError: it is missing or not what featurebank wrote.
        BankUnreadableError: the system cannot read it.
    """
    assert manifest.items is not None, "the caller has checked that extraction finished"
    return open_items(directory, manifest.items, len(manifest.dataset["classes"]) or None)


def load_tables(directory: Path) -> tuple[Manifest, Items]:
    """Reads the manifest and its item table; reads both again if a writer replaced them between the two reads.

    Raises:
        BankNotFoundError, FormatVersionError, BankDamagedError, BankUnreadableError: see `load_manifest`.
        BankIncompleteError: the first extraction into the bank has not finished.
    """
    failed: list[Manifest] = []  # the manifests whose item table was missing or damaged
    while True:
        manifest = load_manifest(directory)
        if manifest.items is None:
            rows = sum(shard.rows for shard in manifest.shards)
            message = f"extraction into '{directory}' has not finished ({counted(rows, 'row')} so far"
            if pieces := sum(1 for _ in note_files(directory)):
                message += f", and {counted(pieces, 'finished piece')}, which 'featurebank cache finish' lists"
            message += "): run the same 'featurebank extract' again, which continues it"
            raise BankIncompleteError(message)
        try:
            return manifest, load_items(directory, manifest)
        except BankDamagedError:
            # The same manifest twice does not prove damage: a writer may have changed labels and changed them back.
            if failed.count(manifest) == _RETRIES:
                raise
            failed.append(manifest)
            refresh(directory)


def _damaged(path: Path) -> BankDamagedError:
    return damaged(path, _forget(path))


def _forget(path: Path) -> str:
    return f"'featurebank cache rm {path.parent.name}' removes this bank, and extracting again creates a new one"
