"""The manifest of a bank: what exists. What it does not list does not exist."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank import digest
from featurebank.bank.shard import ShardEntry
from featurebank.errors import BankDamagedError, BankNotFoundError, FormatVersionError
from featurebank.files import write_bytes, write_json

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

_WRITE_ITEMS = "run 'featurebank extract' as before, which writes it again and computes nothing"


@dataclass(frozen=True)
class Items:
    """The images of a bank: one entry an id, sorted by the digest of the content, then by id."""

    ids: tuple[str, ...]
    digests: np.ndarray
    """(n,) "S32"; two ids may share one."""
    labels: np.ndarray
    """(n,) int32, positions in the classes."""
    splits: np.ndarray
    """(n,) uint8: 0 train, 1 val, 2 test."""

    def sorted(self) -> Items:
        """Returns the same items in their canonical order."""
        order = np.lexsort((np.array(self.ids, dtype=object), self.digests))
        return Items(tuple(self.ids[i] for i in order), self.digests[order], self.labels[order], self.splits[order])

    @property
    def digest(self) -> str:
        """The digest of the columns, however a file holds them."""
        text, ends = self._id_columns()
        return digest.of_recipe([digest.of_array(c) for c in (text, ends, self.digests, self.labels, self.splits)])

    def _id_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids as UTF-8 bytes one after another, and where each ends."""
        encoded = [i.encode() for i in self.ids]
        ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)
        return np.frombuffer(b"".join(encoded), np.uint8), ends

    def to_bytes(self) -> bytes:
        """Returns the items as an NPZ file's bytes (columns: a million ids open in a fraction of a second)."""
        text, ends = self._id_columns()
        buffer = io.BytesIO()
        columns: dict[str, Any] = {"digests": self.digests, "labels": self.labels, "splits": self.splits}
        np.savez(buffer, id_text=text, id_ends=ends, **columns)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Items:
        """Reads what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as columns:
            text, ends = columns["id_text"].tobytes(), columns["id_ends"].tolist()
            starts = [0, *ends][: len(ends)]
            ids = tuple(text[a:b].decode() for a, b in zip(starts, ends, strict=True))
            return cls(ids, columns["digests"], columns["labels"], columns["splits"])


@dataclass(frozen=True)
class Manifest:
    """What a bank's `manifest.json` says."""

    recipe: Mapping[str, Any]
    """Everything that decides a feature's value; its digest is the bank's key."""
    dataset: Mapping[str, Any]
    """name, spec, classes, fractions and seed of the split."""
    shards: tuple[ShardEntry, ...] = ()
    items: Mapping[str, Any] | None = None
    """file, checksum and count of the table of items; None until the first extraction has ended."""
    taps: tuple[str, ...] = ()
    """The taps that every item has."""
    skipped: tuple[Mapping[str, str], ...] = ()
    """Images without a row: id, reason, and the digest of their content where it could be read."""
    history: tuple[Mapping[str, Any], ...] = field(default=())
    """One entry for each extraction that added rows: time, rows, engine, seconds, versions."""

    @property
    def key(self) -> str:
        """The digest of the recipe."""
        return digest.of_recipe(self.recipe)

    def save(self, directory: Path) -> None:
        """Replaces the manifest on disk, atomically."""
        value = {
            "format": "featurebank",
            "format_version": FORMAT_VERSION,
            "key": self.key,
            "recipe": dict(self.recipe),
            "dataset": dict(self.dataset),
            "taps": list(self.taps),
            "items": self.items,
            "shards": [shard.to_dict() for shard in self.shards],
            "skipped": [dict(s) for s in self.skipped],
            "history": [dict(h) for h in self.history],
        }
        value["checksum"] = digest.of_recipe(value)
        write_json(directory / MANIFEST, value)

    def with_items(self, directory: Path, items: Items, taps: tuple[str, ...]) -> Manifest:
        """Writes the table of items and returns the manifest that lists it (not yet saved)."""
        data = items.to_bytes()
        checksum = digest.of_bytes(data)
        name = f"items-{checksum[:16]}.npz"
        write_bytes(directory / name, data)
        entry = {"file": name, "checksum": checksum, "count": len(items.ids), "digest": items.digest}
        return replace(self, items=entry, taps=taps)


def load_manifest(directory: Path) -> Manifest:
    """Reads the manifest of a bank.

    Raises:
        BankNotFoundError: there is none.
        FormatVersionError: a newer featurebank wrote it.
        BankDamagedError: it is not what was written.
    """
    path = directory / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"no bank at '{directory}': 'featurebank cache ls' lists the banks, 'featurebank extract' makes one"
        raise BankNotFoundError(message) from error
    except UnicodeDecodeError as error:
        raise _damaged(path) from error
    try:
        value = json.loads(text)
        version = value["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if version != FORMAT_VERSION:
        message = (
            f"'{directory}' has format version {version}, this featurebank reads {FORMAT_VERSION}: "
            "install a newer featurebank, or choose another --cache"
        )
        raise FormatVersionError(message)
    return _parse(path, value)


def _parse(path: Path, value: dict[str, Any]) -> Manifest:
    checksum = value.pop("checksum", None)
    if checksum != digest.of_recipe(value):
        raise _damaged(path)
    return Manifest(
        recipe=value["recipe"],
        dataset=value["dataset"],
        shards=tuple(ShardEntry.from_dict(s) for s in value["shards"]),
        items=value["items"],
        taps=tuple(value["taps"]),
        skipped=tuple(value["skipped"]),
        history=tuple(value["history"]),
    )


def load_items(directory: Path, manifest: Manifest) -> Items:
    """Reads the table of items that a manifest lists.

    Raises:
        BankDamagedError: it is missing or not what was written.
    """
    assert manifest.items is not None, "the caller has seen that extraction ended"
    path = directory / manifest.items["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _damaged(path, _WRITE_ITEMS) from error
    if digest.of_bytes(data) != manifest.items["checksum"]:
        raise _damaged(path, _WRITE_ITEMS)
    try:
        return Items.from_bytes(data)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, _WRITE_ITEMS) from error


def _damaged(path: Path, remedy: str | None = None) -> BankDamagedError:
    forget = f"'featurebank cache rm {path.parent.name}' forgets this bank, and extracting again makes a new one"
    message = f"'{path}' is damaged: its bytes are not those that featurebank wrote; {remedy or forget}"
    return BankDamagedError(message)
