"""Exports a bank to one plain file with features, labels and ids."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import h5py
import numpy as np

from featurebank.bank.sparse import SparseFile
from featurebank.system.files import atomic_path

if TYPE_CHECKING:
    from featurebank.bank.reader import Bank


class PlainFiles:
    """The files that a bank writes for other programs."""

    def to_hdf5(self, file: str | Path, tap: str = "pooled", *, view: int = 0) -> Path:
        """Writes one plain HDF5 file: `features`, `labels`, `ids`, `splits` and `classes`.

        Args:
            file: the path of the file. An existing file is replaced when the new one is complete.
            tap: one of `taps`.
            view: 0 is the clean image, 1 to `views` are its augmented views.

        Returns:
            The path of the file.

        Raises:
            DiskFullError: no space is left on the disk; an existing file is not changed.
            UnknownNameError, ConfigError, BankDamagedError: see `Bank.features`.

        Example:
            >>> with h5py.File(bank.to_hdf5("photos.h5")) as file:
            ...     sorted(file), file["features"].shape
            (['classes', 'features', 'ids', 'labels', 'splits'], (120, 8))
        """
        bank = cast("Bank", self)
        return write_hdf5(Path(file), _columns(bank), bank.tap_shape(tap), _feature_blocks(bank, tap, view))

    def to_npz(self, file: str | Path, tap: str = "pooled", *, view: int = 0) -> Path:
        """Writes one NPZ file; arrays, arguments and errors are those of `to_hdf5`.

        Example:
            >>> np.load(bank.to_npz("photos.npz"))["features"].shape
            (120, 8)
        """
        bank = cast("Bank", self)
        return write_npz(Path(file), _columns(bank), bank.tap_shape(tap), _feature_blocks(bank, tap, view))


def _columns(bank: Bank) -> dict[str, np.ndarray]:
    return {
        "labels": bank.labels(), "ids": np.array(bank.ids(), dtype="U"), "splits": bank.splits(),
        "classes": np.array(bank.classes, dtype="U"),
    }  # fmt: skip


def _feature_blocks(bank: Bank, tap: str, view: int) -> Iterator[np.ndarray]:
    return (block.features for block in bank.blocks(tap, view=view, block_bytes=64 << 20))


def write_hdf5(
    path: Path, columns: Mapping[str, np.ndarray], shape: tuple[int, ...], blocks: Iterable[np.ndarray]
) -> Path:
    """Writes an HDF5 file with the dataset `features` and one dataset per column; see `Bank.to_hdf5`.

    Args:
        path: where to write; an existing file is replaced once the new one is complete.
        columns: "labels" (n,) and other columns; strings are written as UTF-8 of fixed length.
        shape: shape of one image's features.
        blocks: the features in order, (b, *shape) float32 each, n rows in all.

    Returns:
        The path.

    Raises:
        DiskFullError: no space is left on the disk; an existing file stays.
    """
    content: dict[int, Iterable[np.ndarray]] = {}
    memory = SparseFile()
    with h5py.File(memory, "w") as file:
        file.attrs["format"] = "featurebank export"
        features = (np.asarray(block, np.float32) for block in blocks)
        content |= leave_place(file, "features", (len(columns["labels"]), *shape), np.float32, features)
        for name, column in columns.items():
            encoded = np.char.encode(column, "utf-8") if column.dtype.kind == "U" else column
            text = h5py.string_dtype("utf-8", encoded.itemsize) if encoded.dtype.kind == "S" else encoded.dtype
            content |= leave_place(file, name, encoded.shape, text, [encoded])
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        _reserve(out.fileno(), memory.size)
        out.writelines(memory.pieces(content))
    return path


def _reserve(handle: int, size: int) -> None:
    """Reserves the space before any row is read; where the system cannot, a full disk shows only while writing."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)


def write_npz(
    path: Path, columns: Mapping[str, np.ndarray], shape: tuple[int, ...], blocks: Iterable[np.ndarray]
) -> Path:
    """Writes an uncompressed NPZ file, block by block; see `write_hdf5` and `Bank.to_npz`."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            _write_header(member, (len(columns["labels"]), *shape))
            for block in blocks:
                member.write(np.ascontiguousarray(block, "<f4").data)
        for name, column in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, column, allow_pickle=False)
    return path


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def leave_place(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, blocks: Iterable[np.ndarray]
) -> dict[int, Iterable[np.ndarray]]:
    """Creates a contiguous dataset without content in a `SparseFile`.

    Args:
        group: the group that gets the dataset.
        name: name of the dataset.
        shape: shape of the dataset.
        dtype: dtype of its elements.
        blocks: its content.

    Returns:
        {offset of the content in bytes: the content} for `SparseFile.pieces`; empty for a dataset without elements.
    """
    if 0 in shape:
        group.create_dataset(name, shape, dtype)
        return {}
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # equal rows give equal bytes, whenever they are written
    space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(np.dtype(dtype), logical=True)
    return {h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=layout).get_offset(): blocks}
