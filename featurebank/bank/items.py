"""The table of a bank's images: ids, content digests, labels, splits and metadata, as columns."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from featurebank.bank.index import first_bits
from featurebank.bank.pages.packed_text import PackedText
from featurebank.system import digest

NO_SPLIT = 3
"""The value of `Items.splits` for images without a label, whose label is -1."""
MOST_SPLIT = NO_SPLIT
"""The largest value of `Items.splits`."""


@dataclass(frozen=True)
class Items:
    """The images of a bank: one entry per id, sorted by content digest, then by id."""

    ids: Sequence[str]
    digests: np.ndarray
    """(n,) "S32"; several ids may share one."""
    labels: np.ndarray
    """(n,) int32, indices of classes; -1 for images without a label."""
    splits: np.ndarray
    """(n,) uint8: 0 train, 1 val, 2 test; 3 for images without a label, which are in no split."""
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further columns of the dataset: (n,) numbers, booleans or strings each."""

    def __len__(self) -> int:
        return len(self.digests)

    def sorted(self) -> Items:
        """Returns the same items in their canonical order: by digest, then by id."""
        order = np.arange(len(self)) if is_ordered(self.digests) else digest_order(self.digests)
        ordered = self.select(order)
        alike = np.flatnonzero(in_groups(ordered.digests))
        named = [(bytes(ordered.digests[place]), ordered.ids[place], place) for place in alike.tolist()]
        if named == sorted(named):
            return ordered
        order = np.arange(len(self))
        order[alike] = [place for *_, place in sorted(named)]
        return ordered.select(order)

    def select(self, order: np.ndarray) -> Items:
        """Returns the items at some positions, in that order."""
        ids = self.ids
        chosen = ids.select(order) if isinstance(ids, PackedText) else [ids[i] for i in order.tolist()]
        metadata = {name: column[order] for name, column in self.metadata.items()}
        return Items(chosen, self.digests[order], self.labels[order], self.splits[order], metadata)

    def ids_at(self, positions: np.ndarray) -> PackedText:
        """Returns the ids at some positions."""
        return PackedText.pack(self.ids).select(positions)

    def words(self) -> np.ndarray:
        """Returns the first bits of each digest, (n,) uint64; see `first_bits`."""
        return first_bits(self.digests)

    def release(self) -> None:
        """Removes from memory what can be read again; nothing, of images in memory."""

    def digests_at(self, positions: np.ndarray) -> np.ndarray:
        """Returns the digests at some positions: (m,) "S32"."""
        return np.asarray(self.digests[positions])

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
        check_codes(self.splits, MOST_SPLIT)
        check_labels(self.labels, self.splits, None if classes is None else classes - 1)
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
        another split does. Images without a label do not count.
        """
        digests, labels, splits = self.digests, self.labels, self.splits
        if (labelled := self._labelled) is not None:
            digests, labels, splits = digests[labelled], labels[labelled], splits[labelled]
        if not is_ordered(digests):
            order = digest_order(digests)
            digests, labels, splits = digests[order], labels[order], splits[order]
        grouped = in_groups(digests)
        if grouped.any():
            rows = np.flatnonzero(grouped)
            contents = np.cumsum(np.concatenate([[True], digests[rows][1:] != digests[rows][:-1]]))
            labels, splits = labels.copy(), splits.copy()
            order = rows[np.lexsort((splits[rows], labels[rows], contents))]
            labels[rows], splits[rows] = labels[order], splits[order]
        columns = {"digests": digests, "labels": labels, "splits": splits}
        return digest.of_recipe([self._digest_of(name, column) for name, column in columns.items()])

    def column_digest(self, column: np.ndarray) -> str:
        """Returns the digest of a column, (n,) numbers, as heads see it: the ids do not matter."""
        order = np.lexsort((column, self.splits, self.labels, np.array(self.digests)))
        if (labelled := self._labelled) is not None:
            order = order[np.isin(order, labelled)]
        return digest.of_array(column[order])

    @property
    def _labelled(self) -> np.ndarray | None:
        """The positions of the images with a label, (m,) int64; None if all have one."""
        labelled = self.splits != NO_SPLIT
        return None if labelled.all() else np.flatnonzero(labelled)

    def _digest_of(self, _name: str, column: np.ndarray) -> str:
        """Returns the digest of a column, of the given name if nothing was reordered."""
        return digest.of_array(column)

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
        """Reads what `to_bytes` wrote, as the table of a bank of version 1.

        Raises:
            ValueError: a stranger wrote it.
        """
        try:
            columns = read_columns(data)
            names = read_names(columns["metadata_names"]) if "metadata_names" in columns else []
            metadata = {name: columns[f"metadata_{number}"] for number, name in enumerate(names)}
            ids = PackedText(columns["id_text"], columns["id_ends"])
            items = cls(ids, columns["digests"], columns["labels"], columns["splits"], metadata)
        except Exception as error:  # zipfile and numpy raise many types on bytes that they did not write
            message = f"it is no table of images ({type(error).__name__}: {' '.join(str(error).split())})"
            raise ValueError(message) from error
        for column in metadata.values():
            check_text(column)
        return items


def read_columns(data: bytes) -> dict[str, np.ndarray]:
    """Reads the arrays of an uncompressed NPZ file. Memory is taken for the bytes that are there, never for a header.

    Raises:
        Exception: a stranger wrote it; of many types.
    """
    columns: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > len(data):
            message = "its members are larger than the file"
            raise ValueError(message)
        for member in archive.infolist():
            content = io.BytesIO(archive.read(member))
            version = np.lib.format.read_magic(content)
            if version != (1, 0):
                message = f"'{member.filename}' has another format"
                raise ValueError(message)
            shape, _, dtype = np.lib.format.read_array_header_1_0(content)
            if len(shape) != 1 or dtype.kind not in "biufSU":
                message = f"'{member.filename}' is no column"
                raise ValueError(message)
            values = np.frombuffer(content.getbuffer()[content.tell() :], dtype) if shape[0] else np.empty(0, dtype)
            if values.shape != shape:
                message = f"'{member.filename}' has another length"
                raise ValueError(message)
            columns[member.filename.removesuffix(".npy")] = values
    return columns


def read_names(column: np.ndarray) -> list[str]:
    """Returns the names of the further columns of a table, which a column of bytes holds as JSON.

    Raises:
        ValueError, RecursionError: a stranger wrote it.
    """
    names = json.loads(column.tobytes())
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)):
        message = "the names of the further columns are no distinct texts"
        raise ValueError(message)
    return names


def check_text(column: np.ndarray) -> None:
    """Raises ValueError if a column of strings holds numbers that are no characters, which Python cannot read."""
    if column.dtype.kind == "U" and column.size and column.dtype.itemsize:
        codes = column.view(np.dtype("u4").newbyteorder(column.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            message = "a further column holds numbers that are no characters"
            raise ValueError(message)


def check_codes(codes: np.ndarray, most: int | None) -> None:
    """Raises ValueError if a label or the number of a split, (n,), is negative or larger than `most`."""
    if len(codes) and not (codes.min() >= 0 and (most is None or codes.max() <= most)):
        message = "a label or a split does not exist"
        raise ValueError(message)


def check_labels(labels: np.ndarray, splits: np.ndarray, most: int | None) -> None:
    """Raises ValueError if a label, (n,), is larger than `most`, or negative although the image is in a split."""
    labelled = splits != NO_SPLIT
    check_codes(labels[labelled], most)
    if not (labelled | (labels == -1)).all():
        message = "an image in no split has a label"
        raise ValueError(message)


def is_ordered(digests: np.ndarray) -> bool:
    """Returns whether digests, (n,) "S32", do not descend."""
    return bool((digests[1:] >= digests[:-1]).all())


def in_groups(digests: np.ndarray) -> np.ndarray:
    """Returns which of some digests, (n,) "S32" in order, equal the one before or after: (n,) bool."""
    alike = digests[1:] == digests[:-1]
    grouped = np.zeros(len(digests), bool)
    grouped[1:] |= alike
    grouped[:-1] |= alike
    return grouped


def digest_order(digests: np.ndarray) -> np.ndarray:
    """Returns the positions of digests, (n,) "S32", in ascending order: (n,) int64; equal ones keep their order."""
    if len(digests) and digests.dtype == "S32":
        order = np.argsort(first_bits(digests), kind="stable")  # of numbers: six times as fast as of strings
        if is_ordered(digests[order]):  # otherwise several share these bits, or are no hexadecimal digits
            return order
    return np.argsort(digests, kind="stable")
