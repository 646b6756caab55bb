"""The manifest of a bank, which lists everything that the bank holds. A file that it does not list does not count."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from featurebank.bank.items import Items
from featurebank.bank.shard import ShardEntry, are_counts
from featurebank.errors import (
    BankDamagedError,
    BankIncompleteError,
    BankNotFoundError,
    BankUnreadableError,
    FormatVersionError,
)
from featurebank.system import digest
from featurebank.system.files import json_bytes, path_inside, read_regular, write_bytes, write_json
from featurebank.words import counted

FORMAT_VERSION = 1
NEEDS = "0.1.0"
"""The first featurebank that reads this version of the format; raise both together."""
MANIFEST = "manifest.json"
ITEMS = "items-*.npz"
"""Pattern of the names of item tables."""
_RETRIES = 3
"""How often the item table is read again under an unchanged manifest before it is reported as damaged."""

_DETAILS: Mapping[str, type | tuple[type, ...]] = {
    "spec": str, "subset": Mapping, "fractions": (list, tuple), "seed": int, "classes": (list, tuple), "time": str,
    "added": int, "computed": int, "seconds": (int, float), "engine": str, "versions": Mapping,
}  # fmt: skip
"""The types of the values of a dataset and of an event that other modules read; every value may be missing."""
_MOST_NUMBER = 1e18

_WRITE_ITEMS = "run the same 'featurebank extract' again, which rewrites it and computes nothing"


@dataclass(frozen=True)
class Manifest:
    """The content of a bank's `manifest.json`."""

    recipe: Mapping[str, Any]
    """Everything that decides the value of a feature; its digest is the bank's key."""
    dataset: Mapping[str, Any]
    """name, spec, classes, fractions and seed of the split, and subset."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The user's own specification of the weights. Not part of the key."""
    shards: tuple[ShardEntry, ...] = ()
    items: Mapping[str, Any] | None = None
    """file, checksum and count of the item table; None until the first extraction has finished."""
    taps: tuple[str, ...] = ()
    """The taps that every item has."""
    views: int = 0
    """Number of augmented views of every item in each tap, besides the clean image."""
    skipped: tuple[Mapping[str, str], ...] = ()
    """Images without a row: id, reason, and the content digest if it could be read."""
    history: tuple[Mapping[str, Any], ...] = field(default=())
    """Events of the bank, oldest first: extractions that added rows, rows shared by other banks, clean-ups."""

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError if the manifest holds something that no writer writes."""
        for part in (self.recipe, self.dataset, self.source, *self.skipped, *self.history):
            if not isinstance(part, Mapping):
                message = f"{part!r:.80} is not an object"
                raise TypeError(message)
        for part in (self.dataset, *self.history):
            _check_details(part)
        for name in (self.recipe["backbone"], self.dataset["name"]):
            path_inside(Path(), name)
        if self.items is not None:
            path_inside(Path(), self.items["file"], ITEMS)
            _check_texts(self.items["checksum"], self.items["digest"])
        _check_texts(*self.taps, *self.dataset["classes"], *(entry["id"] for entry in self.skipped))
        if not are_counts(self.views, self.items["count"] if self.items else 0):
            message = "the number of its views or images is not a whole number"
            raise ValueError(message)

    @property
    def key(self) -> str:
        """The digest of the recipe."""
        return digest.of_recipe(self.recipe)

    @property
    def files(self) -> set[str]:
        """The names of the shards and of the item table."""
        return {shard.file for shard in self.shards} | ({self.items["file"]} if self.items else set())

    @property
    def last_extraction(self) -> Mapping[str, Any] | None:
        """The event of the last extraction that computed something: added, seconds, engine, versions."""
        return next((event for event in reversed(self.history) if "added" in event), None)

    def save(self, directory: Path) -> None:
        """Writes the manifest to the disk, atomically."""
        value = {
            "format": "featurebank",
            "format_version": FORMAT_VERSION,
            "needs": NEEDS,
            "key": self.key,
            "recipe": dict(self.recipe),
            "source": dict(self.source),
            "dataset": dict(self.dataset),
            "taps": list(self.taps),
            "views": self.views,
            "items": self.items,
            "shards": [shard.to_dict() for shard in self.shards],
            "skipped": [dict(s) for s in self.skipped],
            "history": [dict(h) for h in self.history],
        }
        value["checksum"] = digest.of_recipe(value)
        write_json(directory / MANIFEST, value)

    def with_items(self, directory: Path, items: Items, taps: tuple[str, ...], views: int) -> Manifest:
        """Writes the item table and returns a manifest that lists it (not yet saved)."""
        data = items.to_bytes()
        checksum = digest.of_bytes(data)
        name = f"items-{checksum[:16]}.npz"
        entry = {"file": name, "checksum": checksum, "count": len(items.ids), "digest": items.digest}
        write_bytes(directory / name, data)
        return replace(self, items=entry, taps=taps, views=views)


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
    path = directory / MANIFEST
    try:
        data = read_regular(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"no bank at '{directory}': 'featurebank cache ls' lists the banks, 'featurebank extract' creates one"
        raise BankNotFoundError(message) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        value = json.loads(data.decode())
        version = value["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if version != FORMAT_VERSION:
        raise _newer(path, value)
    if strict and data != json_bytes(value):
        raise _damaged(path)
    return _parse(path, value)


def _newer(path: Path, value: Mapping[str, Any]) -> BankDamagedError | FormatVersionError:
    version, needs = value["format_version"], value.get("needs")
    if not isinstance(version, int) or version < FORMAT_VERSION or needs == NEEDS:
        return _damaged(path)  # such a version has never existed
    remedy = f"install featurebank {needs} or newer" if needs else "install a newer featurebank"
    message = (
        f"'{path.parent}' has format version {version}, this featurebank reads {FORMAT_VERSION}: "
        f"{remedy} to read it, or choose another --cache"
    )
    return FormatVersionError(message)


def _parse(path: Path, value: dict[str, Any]) -> Manifest:
    checksum = value.pop("checksum", None)
    try:
        if checksum != digest.of_recipe(value):
            raise _damaged(path)
        return Manifest(
            recipe=value["recipe"],
            dataset=value["dataset"],
            source=value.get("source", {}),
            shards=tuple(ShardEntry.from_dict(s) for s in value["shards"]),
            items=value["items"],
            taps=tuple(value["taps"]),
            views=value.get("views", 0),
            skipped=tuple(value["skipped"]),
            history=tuple(value["history"]),
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
    path = directory / manifest.items["file"]
    try:
        data = read_regular(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise _damaged(path, _WRITE_ITEMS) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if digest.of_bytes(data) != manifest.items["checksum"]:
        raise _damaged(path, _WRITE_ITEMS)
    try:
        items = Items.from_bytes(data)
        items.check(len(manifest.dataset["classes"]) or None)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, _WRITE_ITEMS) from error
    return items


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
            message = (
                f"extraction into '{directory}' has not finished ({counted(rows, 'row')} so far): "
                "run the same 'featurebank extract' again, which continues it"
            )
            raise BankIncompleteError(message)
        try:
            return manifest, load_items(directory, manifest)
        except BankDamagedError:
            # The same manifest twice does not prove damage: a writer may have changed labels and changed them back.
            if failed.count(manifest) == _RETRIES:
                raise
            failed.append(manifest)


def _damaged(path: Path, remedy: str | None = None) -> BankDamagedError:
    message = f"'{path}' is damaged: its bytes are not those that featurebank wrote; {remedy or _forget(path)}"
    return BankDamagedError(message)


def _forget(path: Path) -> str:
    return f"'featurebank cache rm {path.parent.name}' removes this bank, and extracting again creates a new one"


def _unreadable(path: Path, error: OSError) -> BankUnreadableError:
    message = (
        f"'{path}' cannot be read now: {error.strerror or error}; it may be intact: fix that, then run the same command"
    )
    return BankUnreadableError(message)
