"""The request that pieces of a bank belong to: which images, taps and views the bank has when all pieces are done.

The first process of an extraction in pieces writes it beside the notes. So `featurebank cache finish` knows what is
missing and can complete the bank, without the dataset and without the network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.items import Items
from featurebank.bank.manifest import Manifest
from featurebank.bank.pages.item_table import FILE
from featurebank.bank.pieces.notes import PIECES, remove_if_empty
from featurebank.bank.shard import are_counts
from featurebank.errors import BankDamagedError
from featurebank.system import digest
from featurebank.system.backing.directories import find, is_file, modified, remove
from featurebank.system.files import path_inside, read_regular, write_bytes
from featurebank.system.sealed_json import read_sealed, write_sealed

_NAME = "request-"
_FORMAT = "featurebank pieces"
_VERSION = 1


@dataclass(frozen=True)
class PieceRequest:
    """What a bank lists when all of its pieces are done."""

    recipe: Mapping[str, Any]
    dataset: Mapping[str, Any]
    """See `Manifest.dataset`."""
    source: Mapping[str, Any]
    """See `Manifest.source`."""
    items: Items
    """All readable images, also those that may turn out to be broken."""
    taps: tuple[str, ...]
    views: int
    size: int
    """The number of images in a slice."""
    unreadable: tuple[Mapping[str, str], ...] = field(default=())
    """`id` and `reason` of each image whose file could not be read."""

    @property
    def images(self) -> np.ndarray:
        """The content digests of the images: (n,) "S32", sorted and distinct."""
        return digest.distinct(self.items.digests)

    def save(self, bank: Path) -> None:
        """Writes the request into a bank's directory, unless it is there already."""
        data = self.items.to_bytes()
        about = {
            "format": _FORMAT, "format_version": _VERSION, "recipe": dict(self.recipe), "dataset": dict(self.dataset),
            "source": dict(self.source), "items": digest.of_bytes(data), "taps": list(self.taps), "views": self.views,
            "size": self.size, "unreadable": [dict(one) for one in self.unreadable],
        }  # fmt: skip
        name = f"{_NAME}{digest.of_recipe(about)}"
        if not is_file(bank / PIECES / f"{name}.json"):
            write_bytes(bank / PIECES / _items_name(digest.of_bytes(data)), data)
            write_sealed(bank / PIECES / f"{name}.json", about)


def newest_request(bank: Path) -> PieceRequest | None:
    """Reads the newest request of a bank; returns None if there is none.

    Raises:
        BankDamagedError: it is not what `PieceRequest.save` wrote, or it belongs to another bank.
    """
    files = sorted(request_files(bank), key=_age)
    if not files:
        return None
    try:
        return _read(files[-1])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        message = (
            f"'{files[-1]}' is not the request of an extraction in pieces ({reason}): delete it; 'featurebank extract' "
            "still uses the finished pieces"
        )
        raise BankDamagedError(message) from error


def request_files(bank: Path) -> Iterator[Path]:
    """Yields the descriptions of a bank's requests; none if the directory is a link to another place."""
    directory = bank / PIECES
    if not directory.is_symlink():
        yield from find(directory, f"{_NAME}*.json")


def remove_requests(bank: Path) -> None:
    """Deletes the requests of a bank, and their directory if it is empty then."""
    for path in request_files(bank):
        remove(path)
    for path in [] if (bank / PIECES).is_symlink() else find(bank / PIECES, FILE):
        remove(path)
    remove_if_empty(bank)


def _items_name(checksum: str) -> str:
    return f"items-{checksum[:16]}.npz"  # as the tables of a bank, so that `cache verify` knows the checksum


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return modified(path)
    return 0.0


def _read(path: Path) -> PieceRequest:
    value = read_sealed(path)
    if value["format"] != _FORMAT or value["format_version"] != _VERSION:
        message = "a newer featurebank wrote it"
        raise ValueError(message)
    data = read_regular(path_inside(path.parent, _items_name(value["items"]), FILE))
    if digest.of_bytes(data) != value["items"]:
        message = "its table of images is damaged"
        raise ValueError(message)
    manifest = Manifest(  # checks the parts that it shares with a request
        recipe=value["recipe"], dataset=value["dataset"], source=value["source"], taps=tuple(value["taps"]),
        views=value["views"], skipped=tuple(value["unreadable"]),
    )  # fmt: skip
    items = Items.from_bytes(data)
    items.check(len(manifest.dataset["classes"]) or None)
    size = value["size"]
    if not (are_counts(size) and size and all(isinstance(one.get("reason"), str) for one in manifest.skipped)):
        message = "its numbers are not those of featurebank"
        raise ValueError(message)
    return PieceRequest(
        manifest.recipe, manifest.dataset, manifest.source, items, manifest.taps, manifest.views, size, manifest.skipped
    )
