"""One plain file of a bank, for whoever wants features, labels and ids and nothing else."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from featurebank.files import atomic_path

_HEADERS = 1 << 20
"""More bytes than the structure of a plain HDF5 file takes."""


def write_hdf5(
    path: Path, columns: Mapping[str, np.ndarray], shape: tuple[int, ...], blocks: Iterable[np.ndarray]
) -> Path:
    """Writes an HDF5 file with the dataset `features` and a dataset a column; see `Bank.to_hdf5`.

    Args:
        path: where; replaced when the new file is whole.
        columns: "labels" (n,) and other columns; strings are written as UTF-8 of fixed length.
        shape: of one image's features.
        blocks: the features in order, (b, *shape) float32 each, together n long.

    Returns:
        The path.

    Raises:
        DiskFullError: no space is left; the old file, if there was one, stays.
    """
    encoded = {n: np.char.encode(c, "utf-8") if c.dtype.kind == "U" else c for n, c in columns.items()}
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
        "features": ((len(columns["labels"]), *shape), np.dtype(np.float32))
    }
    shapes |= {name: (column.shape, column.dtype) for name, column in encoded.items()}
    with atomic_path(path) as temporary:
        offsets = _structure(temporary, shapes)
        with temporary.open("r+b") as file:
            _reserve(file.fileno(), temporary.stat().st_size)
            for name, column in encoded.items():
                _write_at(file, offsets[name], [column])
            _write_at(file, offsets["features"], (np.asarray(block, np.float32) for block in blocks))
    return path


def _structure(path: Path, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, int]:
    """Makes an HDF5 file whose datasets have their place but no content; returns the offset of each in bytes.

    HDF5 (1.14) ends the process where the disk is full. So it writes the structure alone, a few kilobytes for which
    there is room for certain; the content is written past it.
    """
    with path.open("wb") as file:
        _reserve(file.fileno(), _HEADERS)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "featurebank export"
        for name, (shape, dtype) in shapes.items():
            stored = h5py.string_dtype("utf-8", dtype.itemsize) if dtype.kind == "S" else dtype
            if 0 in shape:
                file.create_dataset(name, shape, stored)
                continue
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(np.dtype(stored), logical=True)
            h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=layout)
        return {name: file[name].id.get_offset() for name in shapes}


def _reserve(handle: int, size: int) -> None:
    if size and hasattr(os, "posix_fallocate"):  # elsewhere a full disk shows while the content is written
        os.posix_fallocate(handle, 0, size)


def _write_at(file: IO[bytes], offset: int | None, blocks: Iterable[np.ndarray]) -> None:
    if offset is None:  # of a dataset without elements
        return
    file.seek(offset)
    for block in blocks:
        file.write(np.ascontiguousarray(block).data.cast("B"))


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
