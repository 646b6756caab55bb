"""The table of images as it lies in pages: mapped, and a column is read, verified and checked when it is first used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from featurebank.bank.index import first_bits
from featurebank.bank.items import MOST_SPLIT, Items, check_codes, check_labels, check_text, digest_order, read_names
from featurebank.bank.pages.packed_text import PackedText
from featurebank.bank.pages.page import Page, damaged
from featurebank.system import digest

REMEDY = "run the same 'featurebank extract' again, which rewrites it and computes nothing"
"""What to do about a damaged table of images, as the end of a message."""
_MOST_INT32 = 1 << 31
_AT_ONCE = 1 << 16
"""Elements that are gathered at a time."""
_Checked = TypeVar("_Checked")


class StoredItems(Items):
    """Images in pages; its attributes are those of `Items`, and only those that are used take memory.

    Args:
        directory: the bank's directory, for messages.
        pages: the runs, oldest first; see `item_runs`.
        count: the number of images.
        classes: the number of classes; None for images without labels, whose labels mean nothing.
    """

    pages: tuple[Page, ...]
    _directory: Path
    _count: int
    _classes: int | None

    def __init__(self, directory: Path, pages: Sequence[Page], count: int, classes: int | None) -> None:
        vars(self).update(pages=tuple(pages), _directory=directory, _count=count, _classes=classes)

    def __len__(self) -> int:
        return self._count

    @property
    def digests(self) -> np.ndarray:
        """(n,) "S32"; of several runs a new array at each call, because it is large."""
        return self._merged(self._columns("digests"))

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int32."""
        labels = self._merged(self._columns("labels"))
        self._checked(lambda: check_labels(labels, self.splits, None if self._classes is None else self._classes - 1))
        return labels

    @cached_property
    def splits(self) -> np.ndarray:
        """(n,) uint8."""
        splits = self._merged(self._columns("splits"))
        self._checked(lambda: check_codes(splits, MOST_SPLIT))
        return splits

    @cached_property
    def ids(self) -> PackedText | MergedText:
        """N ids, decoded on demand."""
        parts = [
            PackedText(*columns) for columns in zip(self._columns("id_text"), self._columns("id_ends"), strict=True)
        ]
        for part in parts:
            self._checked(part.check)
        return parts[0] if self._order is None else MergedText(parts, self._order)

    @cached_property
    def metadata(self) -> Mapping[str, np.ndarray]:
        """Further columns of the dataset, (n,) each."""
        if "metadata_names" not in self.pages[0]:
            return {}
        names = self._checked(lambda: read_names(self.pages[0].column("metadata_names")))
        columns = self._checked(lambda: [self._columns(f"metadata_{number}") for number in range(len(names))])
        merged = {name: self._merged(parts) for name, parts in zip(names, columns, strict=True)}
        for column in merged.values():
            self._checked(functools.partial(check_text, column))
        return merged

    def ids_at(self, positions: np.ndarray) -> PackedText:
        """Returns the ids at some positions."""
        return self.ids.select(positions)

    def words(self) -> np.ndarray:
        """Returns the first bits of each digest, (n,) uint64; see `first_bits`."""
        words = []
        for page in self.pages:
            words.append(first_bits(page.column("digests")))
            page.release()
        return self._merged(words)

    def digests_at(self, positions: np.ndarray) -> np.ndarray:
        """Returns the digests at some positions: (m,) "S32"."""
        order = positions if self._order is None else self._order[positions]
        return _gathered(self._columns("digests"), order)

    def release(self) -> None:
        """Removes what was read from the memory of this process; it is read again when it is used."""
        for page in self.pages:
            page.release()

    def loaded(self) -> Items:
        """Returns the images in memory.

        Raises:
            BankDamagedError: a page is not what was written.
        """
        every = np.arange(self._count)
        ids, metadata = self.ids.select(every), {name: np.array(column) for name, column in self.metadata.items()}
        return Items(ids, np.array(self.digests), np.array(self.labels), np.array(self.splits), metadata)

    def _digest_of(self, name: str, column: np.ndarray) -> str:
        page = self.pages[0]  # its checksum was compared when the column was first used
        return page.entry.columns[name].checksum if column is page.column(name) else digest.of_array(column)

    def _columns(self, name: str) -> list[np.ndarray]:
        return [page.column(name) for page in self.pages]

    def _merged(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return parts[0] if self._order is None else _gathered(parts, self._order)

    @cached_property
    def _order(self) -> np.ndarray | None:
        """The images as positions in all runs, one after another: (n,); None if there is one run."""
        if len(self.pages) == 1:
            return None
        base, *others = self._columns("digests")
        starts = np.cumsum([len(base), *map(len, others)])[:-1].tolist()
        later = np.empty(0, "S32")
        places, found = [np.empty(0, np.int64)], [np.empty(0, "S32")]
        for start, page, digests in reversed(list(zip(starts, self.pages[1:], others, strict=True))):
            rows = np.flatnonzero(~_dropped(digests, later))
            places.append(rows + start)
            found.append(digests[rows])
            later = np.union1d(later, page.column("dropped")) if "dropped" in page else later
        alive = ~_dropped(base, later)
        new, digests = np.concatenate(places), np.concatenate(found)
        sorting = digest_order(digests)
        before = np.concatenate([[0], np.cumsum(alive)])[np.searchsorted(base, digests[sorting])]
        order = np.insert(np.flatnonzero(alive), before, new[sorting])
        if len(order) != self._count:
            raise damaged(self._directory / self.pages[-1].entry.file, REMEDY)
        return order.astype(np.int32 if starts[-1] + len(others[-1]) < _MOST_INT32 else np.int64)

    def _checked(self, read: Callable[[], _Checked]) -> _Checked:
        """Turns the errors of what a stranger wrote into BankDamagedError."""
        try:
            return read()
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise damaged(self._directory / self.pages[0].entry.file, REMEDY) from error


def _dropped(digests: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Returns which of some digests, in order, are in `dropped`: (n,) bool."""
    marks = np.zeros(len(digests) + 1, np.int32)
    np.add.at(marks, np.searchsorted(digests, dropped, side="left"), 1)
    np.add.at(marks, np.searchsorted(digests, dropped, side="right"), -1)
    return np.cumsum(marks[:-1]) > 0


def _gathered(parts: Sequence[np.ndarray], order: np.ndarray) -> np.ndarray:
    """Returns elements of several arrays by their positions in all of them, without joining the arrays."""
    if len(parts) == 1:
        return np.asarray(parts[0][order])
    result, starts = np.empty(len(order), np.result_type(*parts)), np.cumsum([0, *map(len, parts)])
    for place in range(0, len(order), _AT_ONCE):
        here, out = order[place : place + _AT_ONCE], result[place : place + _AT_ONCE]
        for part, start in zip(parts, starts.tolist(), strict=False):
            rows = (here >= start) & (here < start + len(part))
            out[rows] = part[here[rows] - start]
    return result


class MergedText(Sequence[str]):
    """The strings of several packed texts in another order, decoded on demand.

    Args:
        parts: the texts.
        order: (n,) positions in all of them, one after another.
    """

    def __init__(self, parts: Sequence[PackedText], order: np.ndarray) -> None:
        self._parts, self._order = parts, order
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return list(self.select(np.arange(*index.indices(len(self)))))
        place = int(self._order[index])
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._parts[number][place - int(self._starts[number])]

    def select(self, order: np.ndarray) -> PackedText:
        """Returns the strings at some positions, in that order."""
        places = self._order[order]
        numbers = np.searchsorted(self._starts, places, side="right") - 1
        sorting = np.argsort(numbers, kind="stable")
        texts, ends, size = [np.empty(0, np.uint8)], [np.empty(0, np.int64)], 0
        for number, part in enumerate(self._parts):
            taken = part.select(places[numbers == number] - self._starts[number])
            texts.append(taken.text)
            ends.append(taken.ends + size)
            size += len(taken.text)
        back = np.empty(len(order), np.int64)
        back[sorting] = np.arange(len(order))
        return PackedText(np.concatenate(texts), np.concatenate(ends)).select(back)

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Returns the first position of a string; raises ValueError if it is missing."""
        if start or stop is not None:
            return super().index(value, start, len(self) if stop is None else stop)
        found = [
            np.flatnonzero(self._order == first + place)
            for first, part in zip(self._starts.tolist(), self._parts, strict=False)
            for place in part.places(value)
        ]
        if places := np.concatenate([np.empty(0, np.int64), *found]).tolist():
            return int(min(places))
        message = f"{value!r} is not in the list"
        raise ValueError(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
