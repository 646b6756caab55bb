"""The table of a bank's images: ids, content digests, labels, splits and metadata, as columns in one NPZ file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np

from featurebank.system import digest

_MOST_SPLIT = 2
"""The largest value of `Items.splits`."""
_LEADING_BITS, _CONTINUATION = 0xC0, 0x80
"""Mask and value of the bytes within a character of UTF-8, after its first."""


class PackedText(Sequence[str]):
    """Many strings as one UTF-8 text and their end offsets, decoded on demand: a million strings open instantly.

    Args:
        text: (bytes,) uint8, the concatenated strings.
        ends: (n,) int64, the end offset of each string.

    Example:
        >>> names = PackedText.pack(["ant", "bee"])
        >>> len(names), names[1]
        (2, 'bee')
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self.text, self.ends = text, ends

    @classmethod
    def pack(cls, strings: Iterable[str]) -> PackedText:
        """Packs strings; returns a `PackedText` unchanged."""
        if isinstance(strings, PackedText):
            return strings
        encoded = [string.encode() for string in strings]
        ends = np.cumsum([len(part) for part in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.text[start : self.ends[index]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        text, start = self.text.tobytes(), 0
        for end in self.ends.tolist():
            yield text[start:end].decode()
            start = end

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Returns the first position of a string, without decoding the others; raises ValueError if it is missing."""
        searched = value.encode(errors="surrogatepass")
        if start or stop is not None or not searched:
            return super().index(value, start, len(self) if stop is None else stop)
        text, at = self.text.tobytes(), -1
        while (at := text.find(searched, at + 1)) >= 0:
            position = int(np.searchsorted(self.ends, at, side="right"))
            if self.ends[position] == at + len(searched) and at == (self.ends[position - 1] if position else 0):
                return position
        message = f"{value!r} is not in the list"
        raise ValueError(message)

    def check(self) -> None:
        """Raises ValueError if the offsets do not divide the text into strings in UTF-8."""
        ends = self.ends
        ordered = not len(ends) or (ends[0] >= 0 and bool((ends[1:] >= ends[:-1]).all()))
        if not ordered or (int(ends[-1]) if len(ends) else 0) != len(self.text):
            message = "the offsets of the ids do not divide their text"
            raise ValueError(message)
        self.text.tobytes().decode()
        starts = ends[ends < len(self.text)]
        if (self.text[starts] & _LEADING_BITS == _CONTINUATION).any():
            message = "an id ends within a character"
            raise ValueError(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Items:
    """The images of a bank: one entry per id, sorted by content digest, then by id."""

    ids: Sequence[str]
    digests: np.ndarray
    """(n,) "S32"; several ids may share one."""
    labels: np.ndarray
    """(n,) int32, indices of classes."""
    splits: np.ndarray
    """(n,) uint8: 0 train, 1 val, 2 test."""
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further columns of the dataset: (n,) numbers, booleans or strings each."""

    def sorted(self) -> Items:
        """Returns the same items in their canonical order."""
        by_id = np.argsort(np.array(list(self.ids), dtype=object), kind="stable")
        return self.select(by_id[np.argsort(self.digests[by_id], kind="stable")])

    def select(self, order: np.ndarray) -> Items:
        """Returns the items at some positions, in that order."""
        ids = list(self.ids)
        metadata = {name: column[order] for name, column in self.metadata.items()}
        return Items(
            [ids[i] for i in order.tolist()], self.digests[order], self.labels[order], self.splits[order], metadata
        )

    def check(self, classes: int | None) -> None:
        """Checks columns that a stranger may have written; no id is decoded.

        Args:
            classes: the number of classes; None for images without labels, whose labels mean nothing.

        Raises:
            ValueError: a column has another type or length, an id is not UTF-8, or a label or split does not exist.
        """
        ids, count = PackedText.pack(self.ids), len(self.digests)
        kinds = [(self.digests, "S"), (self.labels, "iu"), (self.splits, "u"), (ids.text, "u"), (ids.ends, "iu")]
        if any(column.ndim != 1 or column.dtype.kind not in kind for column, kind in kinds):
            message = "a column of the table of images has another type"
            raise ValueError(message)
        if any(len(column) != count for column in (ids, self.labels, self.splits, *self.metadata.values())):
            message = "the columns of the table of images have different lengths"
            raise ValueError(message)
        most = np.inf if classes is None else classes - 1
        if count and not (self.labels.min() >= 0 and self.labels.max() <= most and self.splits.max() <= _MOST_SPLIT):
            message = "a label or a split does not exist"
            raise ValueError(message)
        ids.check()

    @cached_property
    def digest(self) -> str:
        """The digest of the columns that heads depend on, independent of the file format."""
        packed = PackedText.pack(self.ids)
        columns = (packed.text, packed.ends, self.digests, self.labels, self.splits)
        return digest.of_recipe([digest.of_array(column) for column in columns])

    @cached_property
    def content_digest(self) -> str:
        """The digest of the images as heads see them: content, label and split of each, but not its id.

        Renaming and moving images does not change it; adding, removing, changing, relabelling an image or moving it to
        another split does.
        """
        _, contents = np.unique(self.digests, return_inverse=True)
        order = np.lexsort((self.splits, self.labels, contents))
        return digest.of_recipe([digest.of_array(part[order]) for part in (self.digests, self.labels, self.splits)])

    def to_bytes(self) -> bytes:
        """Returns the items as the bytes of an NPZ file."""
        packed = PackedText.pack(self.ids)
        columns: dict[str, Any] = {"digests": self.digests, "labels": self.labels, "splits": self.splits}
        if self.metadata:  # members are numbered, because a name may hold any character
            names = json.dumps(list(self.metadata)).encode()
            columns["metadata_names"] = np.frombuffer(names, np.uint8)
            columns |= {f"metadata_{number}": column for number, column in enumerate(self.metadata.values())}
        buffer = io.BytesIO()
        np.savez(buffer, id_text=packed.text, id_ends=packed.ends, **columns)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Items:
        """Reads what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as columns:
            names = json.loads(columns["metadata_names"].tobytes()) if "metadata_names" in columns else []
            metadata = {name: columns[f"metadata_{number}"] for number, name in enumerate(names)}
            ids = PackedText(columns["id_text"], columns["id_ends"])
            return cls(ids, columns["digests"], columns["labels"], columns["splits"], metadata)
