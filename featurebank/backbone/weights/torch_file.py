"""Reads the tensors of a PyTorch weights file with NumPy only; nothing that the file names is run.

Both layouts of `torch.save` are supported: the sequential one (before PyTorch 1.6: pickles, then the storages one after
the other) and the zip one. A pickle can name any Python function to call on loading. Here only the four names that a
dictionary of tensors needs are allowed, and they resolve to functions of this module.
"""

from __future__ import annotations

import collections
import contextlib
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from featurebank.errors import WeightsError
from featurebank.system.archive import Archive, open_archive
from featurebank.system.files import open_regular

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGE_FIELDS = 5
_STORAGES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class _Storage:
    """A block of elements that several tensors may share."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _View:
    """A tensor whose storage is not yet read: the location of its elements, counted in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary of `torch.save`.

    Args:
        path: a `.pth` or `.pt` file of either layout.

    Returns:
        The tensors by name, as float32 or int64 arrays that own their memory.

    Raises:
        WeightsError: the file is missing, truncated or damaged, names a function other than those of a plain
            dictionary of float32 and int64 tensors, or holds anything else.
    """
    with _one_line_errors(path), open_regular(path) as file:
        if zipfile.is_zipfile(file):
            with open_archive(file) as archive:
                return _read_zip(archive)
        file.seek(0)
        return _read_sequential(file)


@contextlib.contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Turns an exception on a damaged file into one WeightsError that names the file."""
    try:
        yield
    except WeightsError as error:
        message = f"'{path}' cannot be used as PyTorch weights: {error}"
        raise WeightsError(message) from error
    except (OSError, *_DAMAGED) as error:
        message = (
            f"'{path}' cannot be read as PyTorch weights ({type(error).__name__}: {error}): expected a whole file "
            "written by torch.save(model.state_dict(), ...); download or save it again"
        )
        raise WeightsError(message) from error


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles a dictionary of tensors; any other global name is refused before anything is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _STORAGES:
            return name
        message = (
            f"it names '{module}.{name}', which a dictionary of float32 or int64 tensors does not need; nothing of it "
            "was run; save the plain state_dict() of the model instead"
        )
        raise WeightsError(message)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, element, key, _device, count = pid[:_STORAGE_FIELDS]
        # A sixth field would be a view into another storage, which state dictionaries have not had since 2018.
        if kind != "storage" or element not in _STORAGES or any(part is not None for part in pid[_STORAGE_FIELDS:]):
            message = f"unknown kind of storage: {pid!r:.80}"
            raise ValueError(message)
        return _Storage(str(key), _STORAGES[element], int(count))


def _rebuild(storage: _Storage, offset: int, shape: Any, strides: Any, *_unused: Any) -> _View:
    """Replaces `torch._utils._rebuild_tensor_v2`; the remaining arguments concern gradients."""
    if not isinstance(storage, _Storage):
        message = "a tensor without storage"
        raise TypeError(message)
    return _View(storage, int(offset), tuple(int(size) for size in shape), tuple(int(step) for step in strides))


def _read_sequential(file: IO[bytes]) -> dict[str, np.ndarray]:
    """Reads the layout of PyTorch before 1.6."""
    if _TensorUnpickler(file).load() != _MAGIC or _TensorUnpickler(file).load() != _PROTOCOL:
        message = "it does not begin like a PyTorch file"
        raise ValueError(message)
    if not _TensorUnpickler(file).load()["little_endian"]:
        message = "it was written on a big-endian machine"
        raise ValueError(message)
    views = _views(_TensorUnpickler(file).load())
    storages = {view.storage.key: view.storage for view in views.values()}
    data = {}
    for key in _TensorUnpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        if key not in storages or count != storages[key].count:
            message = f"storage '{key}' does not match its tensors"
            raise ValueError(message)
        data[key] = _elements(file.read(count * storages[key].dtype.itemsize), storages[key])
    return _materialise(views, data)


def _read_zip(archive: Archive) -> dict[str, np.ndarray]:
    """Reads the layout of PyTorch 1.6 and later."""
    pickles = [name for name in archive.names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        message = "it holds no 'data.pkl'"
        raise ValueError(message)
    root = pickles[0].removesuffix("data.pkl")
    views = _views(_TensorUnpickler(io.BytesIO(archive.read(pickles[0]))).load())
    storages = {view.storage.key: view.storage for view in views.values()}
    return _materialise(views, {key: _elements(archive.read(f"{root}data/{key}"), s) for key, s in storages.items()})


def _elements(data: bytes, storage: _Storage) -> np.ndarray:
    if len(data) != storage.count * storage.dtype.itemsize:
        message = f"the file ends inside storage '{storage.key}'"
        raise EOFError(message)
    return np.frombuffer(data, storage.dtype)


def _views(value: Any) -> dict[str, _View]:
    """Checks that the value is a flat dictionary of tensors."""
    if not isinstance(value, dict) or not all(isinstance(view, _View) for view in value.values()):
        message = "it holds something other than a dictionary of tensors"
        raise ValueError(message)
    return {str(name): view for name, view in value.items()}


def _materialise(views: dict[str, _View], data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: _gather(view, data[view.storage.key]) for name, view in views.items()}


def _gather(view: _View, elements: np.ndarray) -> np.ndarray:
    """Copies a strided view out of its storage, after checking that the view lies inside."""
    sane = len(view.shape) == len(view.strides) and view.offset >= 0 and min((*view.shape, *view.strides, 0)) >= 0
    count: int = math.prod(view.shape)
    last = view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.strides, strict=False))
    # A stride of 0 could expand a few bytes to an array that fills the memory; so the count is checked.
    if not sane or count > elements.size or (count and last >= elements.size):
        message = f"a tensor of shape {view.shape} exceeds its storage of {elements.size} elements"
        raise ValueError(message)
    steps = tuple(step * elements.itemsize for step in view.strides)
    return np.lib.stride_tricks.as_strided(elements[view.offset :], view.shape, steps).copy()
