"""One shard: an HDF5 file with some rows of some taps. Only this module and `plain_files` know HDF5.

A shard holds `/digest` (rows,) fixed strings of 32 hexadecimal digits, `/view` (rows,) uint8, and `/taps/NAME`
(rows, ...) float32 or float16. They are contiguous and uncompressed, so that a reader can memory-map the features. A
shard never changes once it is written.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from featurebank.bank.plain_files import leave_place
from featurebank.bank.sparse import SparseFile
from featurebank.errors import BankDamagedError, BankError, BankUnreadableError
from featurebank.system import digest
from featurebank.system.backing.directories import size_of
from featurebank.system.files import atomic_path, map_array, open_regular, path_inside
from featurebank.words import counted

KEY_DTYPE = np.dtype([("digest", "S32"), ("view", "u1")])
"""The key of a row: the digest of an image's content and the number of the view."""
PATTERN = "shard-*.h5"
"""Pattern of the names of shards."""
_DTYPES = {"float32", "float16"}
_MOST_VIEW = 255
_BLOCK = 1 << 20


@dataclass(frozen=True)
class StoredTap:
    """Location of the rows of one tap in a shard."""

    shape: tuple[int, ...]
    """Shape of one row."""
    dtype: str
    """"float32" or "float16"."""
    offset: int
    """Offset of the first row in the file, in bytes."""

    @property
    def row_bytes(self) -> int:
        """Size of a row in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __post_init__(self) -> None:
        """Raises ValueError if the manifest holds something that no writer writes."""
        if not (self.dtype in _DTYPES and are_counts(self.offset, *self.shape)):
            message = "the description of a shard's tap is not one that featurebank writes"
            raise ValueError(message)


@dataclass(frozen=True)
class ShardEntry:
    """The manifest's entry for a shard."""

    file: str
    rows: int
    bytes: int
    checksum: str
    """Checksum of the whole file."""
    keys: str
    """Digest of the rows' keys, by which a reader detects changed rows."""
    taps: Mapping[str, StoredTap]
    view: int = 0
    """View of all its rows; 0 is the clean image."""

    def __post_init__(self) -> None:
        """Raises ValueError if the manifest holds something that no writer writes."""
        path_inside(Path(), self.file, PATTERN)
        sizes = are_counts(self.rows, self.bytes, self.view) and self.view <= _MOST_VIEW
        texts = all(isinstance(text, str) for text in (self.checksum, self.keys, *self.taps))
        if not (sizes and texts and self.rows * KEY_DTYPE.itemsize <= self.bytes):
            message = f"the description of shard '{self.file}' is not one that featurebank writes"
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as a JSON object."""
        taps = {name: {"shape": list(t.shape), "dtype": t.dtype, "offset": t.offset} for name, t in self.taps.items()}
        return {
            "file": self.file, "rows": self.rows, "bytes": self.bytes, "checksum": self.checksum, "keys": self.keys,
            "view": self.view, "taps": taps,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ShardEntry:
        """Reads an object of `to_dict`."""
        taps = {n: StoredTap(tuple(t["shape"]), t["dtype"], t["offset"]) for n, t in value["taps"].items()}
        return cls(
            value["file"], value["rows"], value["bytes"], value["checksum"], value["keys"], taps, value.get("view", 0)
        )


def are_counts(*values: object) -> bool:
    """Returns whether all values are non-negative whole numbers."""
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)


def write_shard(
    directory: Path, keys: np.ndarray, taps: Mapping[str, Sequence[np.ndarray]], *, temporaries: Path | None = None
) -> ShardEntry:
    """Writes a shard and returns its entry; the file is synced to the disk before it returns.

    Args:
        directory: the bank's directory.
        keys: (rows,) of `KEY_DTYPE`, all of one view.
        taps: for each tap, its blocks in order: (b, ...) each, `rows` rows in all, in the dtype to store.
        temporaries: see `atomic_path`.

    Raises:
        DiskFullError: no space is left on the disk; no part of the shard remains.
    """
    memory, content = SparseFile(), dict[int, Iterable[np.ndarray]]()
    with h5py.File(memory, "w") as file:
        file.attrs["format"] = "featurebank shard"
        file.attrs["format_version"] = 1
        file.create_dataset("digest", data=keys["digest"])
        file.create_dataset("view", data=keys["view"])
        group = file.create_group("taps")
        for tap in sorted(taps):
            rows, blocks = sum(map(len, taps[tap])), taps[tap]
            assert rows == len(keys), f"tap {tap} has {rows} rows, there are {len(keys)} keys"
            content |= leave_place(
                group, tap.replace("/", "%2F"), (rows, *blocks[0].shape[1:]), blocks[0].dtype, blocks
            )
        stored = _stored_taps(file)
    checksum = digest.of_pieces(memory.pieces(content))
    name = f"shard-{checksum[:20]}.h5"  # other rows get another name, so that a reader's offsets always fit the file
    with atomic_path(directory / name, temporaries) as temporary, temporary.open("wb") as out:
        out.writelines(memory.pieces(content))
    view = int(keys["view"][0])
    assert (keys["view"] == view).all(), "rows of several views in one shard"
    return ShardEntry(name, len(keys), memory.size, checksum, digest.of_array(keys), stored, view)


def _stored_taps(file: h5py.File) -> dict[str, StoredTap]:
    return {
        tap.replace("%2F", "/"): StoredTap(dataset.shape[1:], dataset.dtype.name, dataset.id.get_offset())
        for tap, dataset in file["taps"].items()
    }


def read_keys(directory: Path, entry: ShardEntry) -> np.ndarray:
    """Reads the keys of a shard's rows: (rows,) of `KEY_DTYPE`.

    Raises:
        BankDamagedError: the file is missing, has another size or structure, or its keys are not those that were
            written.
        BankUnreadableError: the system cannot read it.
    """
    path = directory / entry.file
    with _reading(path, entry) as file:
        memory = _structure(path, file, entry)
    keys = np.empty(entry.rows, KEY_DTYPE)
    try:
        with h5py.File(memory, "r") as structure:
            for name in ("digest", "view"):
                keys[name] = _plain_column(structure, name, entry.rows)
            taps = _stored_taps(structure)
    except Exception as error:  # h5py raises many types on damaged bytes
        raise _damaged(path, f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    if digest.of_array(keys) != entry.keys:
        raise _damaged(path, "its row keys are not those that were written")
    if taps != dict(entry.taps) or not (keys["view"] == entry.view).all():
        raise _damaged(path, "its taps do not match the manifest")
    return keys


def _plain_column(structure: h5py.File, name: str, rows: int) -> np.ndarray:
    """Reads a column of the keys, which lies in the file as it is: a stranger's may lie in others, or be endless.

    Raises:
        ValueError: a stranger wrote it.
    """
    column = structure[name] if isinstance(structure.get(name, getlink=True), h5py.HardLink) else None
    if not (isinstance(column, h5py.Dataset) and (column.shape, column.dtype) == ((rows,), KEY_DTYPE[name])):
        message = f"'{name}' is no column of {counted(rows, 'row')}"
        raise ValueError(message)
    layout = column.id.get_create_plist()
    if layout.get_layout() != h5py.h5d.CONTIGUOUS or layout.get_external_count():
        message = f"'{name}' does not lie in the file as it is"
        raise ValueError(message)
    values: np.ndarray = column[...]
    return values


def _structure(path: Path, file: BinaryIO, entry: ShardEntry) -> SparseFile:
    """Reads a shard without its features.

    HDF5 reads the result from memory: on disk, HDF5 would report refusals of the system as damage, and would not open a
    file that the process already has open with other settings.
    """
    if any(tap.offset + entry.rows * tap.row_bytes > entry.bytes for tap in entry.taps.values()):
        raise _damaged(path, "it ends before its last row")
    memory, place = SparseFile(), 0
    features = [(tap.offset, tap.offset + entry.rows * tap.row_bytes) for tap in entry.taps.values()]
    for start, stop in [*sorted(features), (entry.bytes, entry.bytes)]:
        if place < start:
            file.seek(place)
            memory.seek(place)
            memory.write(file.read(start - place))
        place = max(place, stop)
    memory.truncate(entry.bytes)
    return memory


def check_size(directory: Path, entry: ShardEntry) -> None:
    """Raises BankDamagedError if a shard is missing or has another size; it is not read."""
    if size_of(directory / entry.file) != entry.bytes:  # a link, perhaps
        with _reading(directory / entry.file, entry):
            pass


def is_whole(directory: Path, entry: ShardEntry) -> bool:
    """Compares every byte of a shard with its checksum; returns False also if the file is missing.

    Raises:
        BankUnreadableError: the system cannot read it.
    """
    try:
        with _reading(directory / entry.file, entry) as file:
            return digest.of_pieces(iter(lambda: file.read(_BLOCK), b"")) == entry.checksum
    except BankDamagedError:
        return False


@contextlib.contextmanager
def _reading(path: Path, entry: ShardEntry) -> Iterator[BinaryIO]:
    """Opens a shard of the right size; distinguishes damage from refusals of the system."""
    try:
        with open_regular(path) as file:
            if (size := os.fstat(file.fileno()).st_size) != entry.bytes:
                raise _damaged(path, f"it has {size} bytes, but the manifest says {entry.bytes}")
            yield file
    except BankError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise _damaged(path, "the file does not exist") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def read_rows(directory: Path, entry: ShardEntry, tap: str, rows: np.ndarray) -> np.ndarray:
    """Reads rows of a tap: (n, ...) of the stored dtype; no part of the file stays in memory.

    Raises:
        BankDamagedError, BankUnreadableError: see `map_tap`.
    """
    # Indexing an h5py dataset by a list takes quadratic time (h5py 3.14); a map holds its pages only while it exists.
    mapped = map_tap(directory, entry, tap)
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
    if last - first + 1 == len(rows) and np.array_equal(rows, np.arange(first, last + 1)):
        return np.array(mapped[first : last + 1])
    return np.asarray(mapped[rows])


def map_tap(directory: Path, entry: ShardEntry, tap: str) -> np.ndarray:
    """Memory-maps the rows of a tap: a read-only (rows, ...) array of the stored dtype.

    Raises:
        BankDamagedError: the file is missing or too short.
        BankUnreadableError: the system cannot read it.
    """
    stored = entry.taps[tap]
    path = directory / entry.file
    try:
        return map_array(path, stored.dtype, stored.offset, (entry.rows, *stored.shape))
    except FileNotFoundError as error:
        raise _damaged(path, "the file does not exist") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _damaged(path, "it ends before its last row") from error


def _damaged(path: Path, reason: str) -> BankDamagedError:
    return BankDamagedError(
        f"shard '{path}' is damaged: {reason}; run the same 'featurebank extract' again, which restores its rows"
    )


def _unreadable(path: Path, error: OSError) -> BankUnreadableError:
    return BankUnreadableError(
        f"shard '{path}' cannot be read now: {error.strerror or error}; it may be intact, so nothing is recomputed: "
        "fix that, then run the same command"
    )
