"""Reads arrays from a .npz file: nothing is unpickled, and nothing is unpacked that exceeds the memory limit."""

from __future__ import annotations

import zipfile
from typing import IO

import numpy as np

from featurebank.errors import DatasetError
from featurebank.system.files import open_regular
from featurebank.system.runtime import ram_limit

_REMEDY = "write it with numpy.savez(file, x=images, y=labels)"
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a .npz file.

    Before anything is unpacked, three sizes are compared: the archive's size of each member, the size in each array's
    header, and `--ram`. zipfile reads no more of a member than the archive states.

    Raises:
        DatasetError: the file is missing, damaged, of another kind, larger than `--ram`, or holds pickled objects.
    """
    try:
        with open_regular(path) as raw, zipfile.ZipFile(raw) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            _check_sizes(path, sum(archive.getinfo(name).file_size for name in names))
            return {name.removesuffix(".npy"): _array(archive, name) for name in names}
    except DatasetError:
        raise
    except FileNotFoundError as error:
        message = f"there is no file '{path}': expected a .npz file; check the path"
        raise DatasetError(message) from error
    except Exception as error:  # zipfile, zlib and numpy raise many types on damaged or foreign bytes
        message = f"cannot read '{path}': {_why(error)}; {_REMEDY}"
        raise DatasetError(message) from error


def _check_sizes(path: str, size: int) -> None:
    if size > ram_limit():
        message = (
            f"'{path}' unpacks to {size / 1e6:.0f} MB, the limit is {ram_limit() / 1e6:.0f} MB: use a larger --ram if "
            "the file is as intended, or save the images as files"
        )
        raise DatasetError(message)


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Reads one array; raises ValueError if it holds objects, or claims to be larger than its member."""
    with archive.open(name) as member:
        shape, dtype = _header(member)
        if dtype.hasobject:
            message = "it holds pickled objects, which could run code"
            raise ValueError(message)
        size = dtype.itemsize
        for side in shape:  # Python's whole numbers do not overflow
            size *= side
        if member.tell() + size > archive.getinfo(name).file_size:
            message = f"not a whole .npz file ({name} claims to hold {size} bytes, more than there are)"
            raise ValueError(message)
    with archive.open(name) as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(member)
    if version not in _VERSIONS:
        message = f"an array of format {version[0]}.{version[1]}, expected 1.0 or 2.0"
        raise ValueError(message)
    shape, _, dtype = _VERSIONS[version](member)
    return shape, dtype


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    if text.startswith("it holds pickled"):
        return text
    return text if text.startswith("not a whole") else f"not a whole .npz file ({text})"
