"""Shards in pages: the entries of many shards, and the digests of their rows, written once and listed as one.

A manifest lists new shards itself. When these are many, their entries move into a page, in the same order. So a
manifest stays short, however many shards there are, and a reader finds rows without opening the shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.pages.page import Page, PageEntry, write_page
from featurebank.bank.shard import ShardEntry, read_keys
from featurebank.errors import BankDamagedError
from featurebank.system.backing.directories import is_file

SHARDS_A_PAGE = 64
"""This many shards move into a page at once."""
MOST_LISTED = 256
"""If the manifest itself lists more shards, as after a clean-up of rows here and there, all of them move into pages."""
PATTERN = "shards-*.page"
_ENTRIES, _DIGESTS = "entries", "digests"
_REMEDY = "run the same 'featurebank extract' again, which rewrites it from the shards"


@dataclass(frozen=True)
class ShardPage:
    """Some shards that the manifest lists one after another, and the page with their entries."""

    entry: PageEntry
    shards: tuple[ShardEntry, ...]


def write_shard_page(directory: Path, shards: Sequence[ShardEntry], known: Mapping[str, np.ndarray]) -> ShardPage:
    """Writes a page of shards; for the arguments see `with_new_pages`."""
    entries = json.dumps([shard.to_dict() for shard in shards], ensure_ascii=False, separators=(",", ":")).encode()
    digests = [known[s.file] if s.file in known else read_keys(directory, s)["digest"] for s in shards]
    columns = {_ENTRIES: np.frombuffer(entries, np.uint8), _DIGESTS: np.concatenate(digests)}
    return ShardPage(write_page(directory, "shards", columns), tuple(shards))


def read_listing(
    directory: Path, listing: Iterable[Mapping[str, Any]], remedy: str
) -> tuple[tuple[ShardEntry, ...], tuple[ShardPage, ...]]:
    """Reads the shards that a manifest lists, itself or by pages.

    Args:
        directory: the bank's directory.
        listing: "shards" of the manifest.
        remedy: what to do if a page is damaged, as the end of a message.

    Returns:
        All shards in order, and the pages.

    Raises:
        BankDamagedError: a page is missing or not what was written.
        BankUnreadableError: the system cannot read a page.
        LookupError, TypeError, ValueError, AttributeError: a stranger wrote the listing.
    """
    shards, pages = list[ShardEntry](), list[ShardPage]()
    for value in listing:
        if "page" in value:
            pages.append(_read(directory, PageEntry.from_dict(value["page"]), remedy))
            shards += pages[-1].shards
        else:
            shards.append(ShardEntry.from_dict(value))
    return tuple(shards), tuple(pages)


def _read(directory: Path, entry: PageEntry, remedy: str) -> ShardPage:
    text, digests = entry.columns[_ENTRIES], entry.columns[_DIGESTS]
    if not (text.dtype == "|u1" and digests.dtype == "|S32"):
        message = f"a column of '{entry.file}' has another type"
        raise ValueError(message)
    try:
        values = json.loads(Page(directory, entry, remedy).column(_ENTRIES).tobytes().decode())
    except RecursionError as error:
        message = f"the entries of '{entry.file}' are nested too deeply"
        raise ValueError(message) from error
    shards = tuple(map(ShardEntry.from_dict, values))
    if not shards or sum(shard.rows for shard in shards) != digests.rows:
        message = f"the rows of '{entry.file}' are not those of its shards"
        raise ValueError(message)
    return ShardPage(entry, shards)


def listing(shards: Sequence[ShardEntry], pages: Sequence[ShardPage]) -> list[dict[str, Any]]:
    """Returns "shards" of a manifest: a page instead of its shards, if all of them are there in its order."""
    return [
        {"page": part.entry.to_dict()} if isinstance(part, ShardPage) else part.to_dict()
        for part in _parts(shards, pages)
    ]


def listed_pages(shards: Sequence[ShardEntry], pages: Sequence[ShardPage]) -> tuple[ShardPage, ...]:
    """Returns the pages that `listing` lists."""
    return tuple(part for part in _parts(shards, pages) if isinstance(part, ShardPage))


def _parts(shards: Sequence[ShardEntry], pages: Sequence[ShardPage]) -> Iterator[ShardPage | ShardEntry]:
    first = {page.shards[0].file: page for page in pages}
    place, shards = 0, tuple(shards)
    while place < len(shards):
        page = first.get(shards[place].file)
        if page and shards[place : place + len(page.shards)] == page.shards:
            yield page
            place += len(page.shards)
        else:
            yield shards[place]
            place += 1


def with_new_pages(
    directory: Path,
    shards: Sequence[ShardEntry],
    pages: Sequence[ShardPage],
    known: Mapping[str, np.ndarray],
) -> tuple[ShardPage, ...]:
    """Writes pages for the shards that are in none, if these are many; returns all pages of the shards.

    Args:
        directory: the bank's directory.
        shards: all shards in the order of the manifest.
        pages: the pages so far.
        known: the digests of the rows of shards, (rows,) "S32", by the names of their files; others are read.
    """
    parts = list(_parts(shards, pages))
    most = 1 if sum(isinstance(part, ShardEntry) for part in parts) > MOST_LISTED else SHARDS_A_PAGE
    result, alone = list[ShardPage](), list[ShardEntry]()
    for part in [*parts, None]:
        if isinstance(part, ShardEntry):
            alone.append(part)
        if len(alone) == SHARDS_A_PAGE or (not isinstance(part, ShardEntry) and len(alone) >= most):
            result.append(write_shard_page(directory, alone, known))
            alone = []
        if isinstance(part, ShardPage):
            result.append(part)
            alone = []
    return tuple(result)


class RowDigests:
    """Finds the digests of the rows of shards, in pages where possible, otherwise in the shards. Threads may share it.

    Args:
        directory: the bank's directory.
        pages: the pages of the manifest.
    """

    def __init__(self, directory: Path, pages: Iterable[ShardPage]) -> None:
        self._directory = directory
        self._places: dict[str, tuple[ShardEntry, ShardPage, int]] = {}
        self._last: tuple[PageEntry | None, Page | None] = (None, None)
        for page in pages:
            start = 0
            for shard in page.shards:
                self._places[shard.file] = (shard, page, start)
                start += shard.rows

    def in_page(self, shard: ShardEntry) -> np.ndarray | None:
        """Returns the digests of a shard's rows, (rows,) "S32", if a page holds them.

        Raises:
            BankDamagedError: the page is damaged.
            BankUnreadableError: the system cannot read it.
        """
        known, page, start = self._places.get(shard.file, (None, None, 0))
        if known != shard or page is None:
            return None
        entry, mapped = self._last  # one is kept open, because the shards of a page are read one after another
        if entry is not page.entry:
            mapped = _opened(self._directory, page.entry)
            self._last = (page.entry, mapped)
        return None if mapped is None else mapped.column(_DIGESTS)[start : start + shard.rows]

    def release(self) -> None:
        """Removes what was read from the memory of this process; it is read again when it is used."""
        if mapped := self._last[1]:
            mapped.release()

    def __call__(self, shard: ShardEntry) -> np.ndarray:
        """Returns the digests of a shard's rows: (rows,) "S32".

        Raises:
            BankDamagedError: the page is damaged; or no page holds them, and the shard is missing or damaged.
            BankUnreadableError: the system cannot read it.
        """
        digests = self.in_page(shard)
        return np.ascontiguousarray(read_keys(self._directory, shard)["digest"]) if digests is None else digests


def _opened(directory: Path, entry: PageEntry) -> Page | None:
    """Maps a page; returns None if a writer has deleted it meanwhile, because the shards hold the same digests."""
    try:
        return Page(directory, entry, _REMEDY)
    except BankDamagedError:
        if is_file(directory / entry.file):
            raise
        return None
