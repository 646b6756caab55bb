"""Exports a bank to one plain file with features, labels and ids."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from featurebank.bank.sparse import SparseFile
from featurebank.system.files import atomic_path


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
