"""The table of images in pages: a large run of images, and the changes since then as further, smaller runs.

A run is a page with the columns of `Items`, sorted as they are, and with `dropped`: the digests whose images in earlier
runs do not count any more, because they left the dataset or changed. All images of one content are in one run. So the
runs together are the table: the images of each run that no later run drops, sorted by digest.

If a few images change, one small run is written. Runs of similar size are merged when they are many, and all runs when
the changes have become a good part of the table, as in other log-structured files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.index import Finder, contained
from featurebank.bank.items import Items
from featurebank.bank.pages.packed_text import PackedText
from featurebank.bank.pages.page import Page, PageEntry, write_page
from featurebank.bank.pages.stored_items import REMEDY, StoredItems
from featurebank.errors import BankError
from featurebank.system.files import path_inside

PATTERN = "items-*.page"
ONE_RUN = 8192
"""A table of at most as many images is always one run."""
FAN = 8
"""This many runs of similar size become one."""
SHARE = 4
"""The changes take at most this part of the first run: a quarter."""
_CHUNK = 1 << 16
_KINDS = {"id_text": "u", "id_ends": "iu", "digests": "S", "labels": "iu", "splits": "u"}


def run_entries(listed: Mapping[str, Any]) -> list[PageEntry]:
    """Reads the pages of the "items" of a manifest.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: a stranger wrote them.
    """
    entries = [PageEntry.from_dict(value) for value in listed["pages"]]
    for entry in entries:
        path_inside(Path(), entry.file, PATTERN)
        columns = entry.columns
        others = {"id_text", "dropped", "metadata_names"}
        lengths = {column.rows for name, column in columns.items() if name not in others}
        typed = all(columns[name].kind in kinds for name, kinds in _KINDS.items())
        if not typed or len(lengths) != 1 or ("dropped" in columns and columns["dropped"].kind != "S"):
            message = f"the columns of '{entry.file}' are not those of a table of images"
            raise ValueError(message)
    rows = sum(entry.columns["digests"].rows for entry in entries)
    if not entries or listed["count"] > rows or (len(entries) == 1 and listed["count"] < rows):
        message = "the pages do not hold the images of the table"
        raise ValueError(message)
    return entries


def open_runs(directory: Path, listed: Mapping[str, Any], classes: int | None) -> StoredItems:
    """Opens the table of images that a manifest lists in pages; see `StoredItems`.

    Raises:
        BankDamagedError: a page is missing or has another size.
        BankUnreadableError: the system cannot read a page.
    """
    pages = [Page(directory, entry, REMEDY) for entry in run_entries(listed)]
    return StoredItems(directory, pages, listed["count"], classes)


def write_items(directory: Path, listed: Mapping[str, Any] | None, items: Items) -> dict[str, Any]:
    """Writes a table of images, as far as it differs from the listed one.

    Args:
        directory: the bank's directory.
        listed: "items" of the manifest until now.
        items: the images in their canonical order.

    Returns:
        "items" of the next manifest.
    """
    items = replace(items, ids=PackedText.pack(items.ids))
    runs = _changed_runs(directory, listed, items) or [_write_run(directory, items)]
    return {"count": len(items.ids), "digest": items.digest, "pages": [run.to_dict() for run in runs]}


def _changed_runs(directory: Path, listed: Mapping[str, Any] | None, items: Items) -> list[PageEntry]:
    """Writes the changes as a run; returns all runs, or none if the whole table is to be written."""
    if not listed or "pages" not in listed or len(items.digests) <= ONE_RUN:
        return []
    runs = run_entries(listed)
    try:
        old = open_runs(directory, listed, None)
        changes = _changes(old, items)
    except BankError:  # damaged or missing: the whole table is written again
        return []
    if changes is None:
        return []
    if not len(changes.rows) and not len(changes.dropped):
        return runs
    keep = remaining_runs([_size(run) for run in runs], len(changes.rows) + len(changes.dropped))
    if not keep:
        return []
    merged = old.pages[keep:]
    rows, dropped = changes.rows, changes.dropped
    if merged:
        earlier = np.concatenate([page.column("digests") for page in merged])
        rows = np.union1d(rows, np.flatnonzero(contained(items.digests, earlier)))
        dropped = np.unique(np.concatenate([dropped, *(p.column("dropped") for p in merged if "dropped" in p)]))
    return [*runs[:keep], _write_run(directory, items.select(rows), dropped)]


def remaining_runs(sizes: Sequence[int], new: int) -> int:
    """Returns how many runs stay when a new one arrives; it is merged with the others. 0 writes the whole table.

    Args:
        sizes: the numbers of rows of the runs, oldest first.
        new: the number of rows of the new one.

    Example:
        >>> remaining_runs([100_000, 9], 9), remaining_runs([100_000, *[9] * 7], 9)
        (2, 1)
    """
    if (sum(sizes[1:]) + new) * SHARE > sizes[0]:
        return 0
    keep = len(sizes)
    while True:
        similar = 0
        while keep - similar > 1 and _tier(sizes[keep - similar - 1]) <= _tier(new):
            similar += 1
        if similar + 1 < FAN:
            return keep
        new += sum(sizes[keep - similar : keep])
        keep -= similar


def _tier(rows: int) -> int:
    return int(math.log(max(rows, 1), FAN))


def _size(run: PageEntry) -> int:
    return run.columns["digests"].rows + (run.columns["dropped"].rows if "dropped" in run.columns else 0)


def _write_run(directory: Path, items: Items, dropped: np.ndarray | None = None) -> PageEntry:
    ids = PackedText.pack(items.ids)
    columns = {"id_text": ids.text, "id_ends": ids.ends, "digests": items.digests, "labels": items.labels,
               "splits": items.splits}  # fmt: skip
    if dropped is not None:
        columns["dropped"] = dropped
    if items.metadata:  # columns are numbered, because a name may hold any character
        columns["metadata_names"] = np.frombuffer(json.dumps(list(items.metadata)).encode(), np.uint8)
        columns |= {f"metadata_{number}": column for number, column in enumerate(items.metadata.values())}
    return write_page(directory, "items", columns)


@dataclass(frozen=True)
class _Changes:
    rows: np.ndarray
    """(m,) int64, the positions in the new table of all images of a content that is new or has changed."""
    dropped: np.ndarray
    """(k,) "S32", sorted: the contents of the old table that left it or have changed."""


def _changes(old: StoredItems, new: Items) -> _Changes | None:
    """Compares two tables, both in their canonical order; returns None if they cannot be stored as changes."""
    if not len(new) or _kinds(old) != _kinds(new):
        return None
    digests = old.digests
    old_starts, new_starts = _starts(digests), _starts(new.digests)
    old_sizes = np.diff(old_starts, append=len(digests))
    sizes = np.diff(new_starts, append=len(new.digests))
    match = Finder(_firsts(digests, old_starts)).find(_firsts(new.digests, new_starts))
    comparable = match >= 0
    comparable[comparable] = old_sizes[match[comparable]] == sizes[comparable]
    rows = np.flatnonzero(np.repeat(comparable, sizes))
    partners = rows + np.repeat(old_starts[match[comparable]] - new_starts[comparable], sizes[comparable])
    equal = np.zeros(len(new.digests), bool)
    equal[rows] = _equal_rows(old, partners, new, rows)
    same = np.logical_and.reduceat(equal, new_starts)
    dropped = np.ones(len(old_starts), bool)
    dropped[match[same]] = False
    return _Changes(np.flatnonzero(np.repeat(~same, sizes)), digests[old_starts[dropped]])


def _kinds(items: Items) -> list[object]:
    metadata = [(name, column.dtype.kind) for name, column in items.metadata.items()]
    return [items.digests.dtype, items.labels.dtype, items.splits.dtype, metadata]


def _starts(digests: np.ndarray) -> np.ndarray:
    """Returns where each group of equal digests begins: (groups,) int64."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(digests)), bool), digests[1:] != digests[:-1]]))


def _firsts(digests: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return digests if len(starts) == len(digests) else digests[starts]


def _equal_rows(old: StoredItems, partners: np.ndarray, new: Items, rows: np.ndarray) -> np.ndarray:
    """Returns which images are the same in two tables, but for their digests: (m,) bool."""
    equal: np.ndarray = (old.labels[partners] == new.labels[rows]) & (old.splits[partners] == new.splits[rows])
    for name, column in new.metadata.items():
        one, other = old.metadata[name][partners], column[rows]
        same = one == other
        equal &= same | (np.isnan(one) & np.isnan(other)) if column.dtype.kind == "f" else same
    ids = PackedText.pack(new.ids)
    for place in range(0, len(rows), _CHUNK):
        here = slice(place, place + _CHUNK)
        equal[here] &= _equal_ids(old.ids_at(partners[here]), ids.select(rows[here]))
    return equal


def _equal_ids(one: PackedText, other: PackedText) -> np.ndarray:
    """Returns which strings are equal in two lists of the same length: (n,) bool."""
    lengths = np.diff(one.ends, prepend=0)
    equal: np.ndarray = lengths == np.diff(other.ends, prepend=0)
    if not equal.all():
        places = np.flatnonzero(equal)
        equal[places] = _equal_ids(one.select(places), other.select(places))
        return equal
    differs = np.flatnonzero(one.text != other.text)
    equal[np.searchsorted(one.ends, differs, side="right")] = False
    return equal
