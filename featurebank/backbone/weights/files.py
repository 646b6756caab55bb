"""Weights files: their folders, completeness, digests, and how they are loaded into a network."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.keras_file import check_weights_file
from featurebank.backbone.weights.torch_file import read_tensors
from featurebank.errors import WeightsError
from featurebank.system import digest
from featurebank.system.files import open_regular

KERAS_SUFFIXES = (".h5", ".keras")
TORCH_SUFFIXES = (".pth", ".pt")

Part = tuple[str, tuple[int, ...] | None]
"""A tensor of a PyTorch file: its name, and the order of its axes in Keras."""

CONV = (2, 3, 1, 0)
DEPTHWISE = (2, 3, 0, 1)
DENSE = (1, 0)

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNREADABLE = (
    ValueError,
    LookupError,
    OSError,
    AttributeError,
    TypeError,
    RuntimeError,
    UserWarning,
    zipfile.BadZipFile,
)
_digests: dict[tuple[str, int, int], str] = {}


def file_digest(path: Path) -> str:
    """Returns the digest of a file; each version of the file is read at most once.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        state = path.stat()
        key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
        if key not in _digests:
            _digests[key] = digest.of_file(path)
    except OSError as error:
        message = f"the weights file '{path}' cannot be read ({error.strerror}): check its permissions"
        raise WeightsError(message) from error
    return _digests[key]


def keras_folders() -> list[Path]:
    """Returns the folders of Keras's weights: its home, and its fallback if that is not writable."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    shared = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    return [home / "models", shared / ".keras" / "models"]


def is_whole_hdf5(path: Path) -> bool:
    """Returns whether a file is HDF5 and as long as its superblock states; an interrupted download is shorter."""
    try:
        with open_regular(path) as file:
            start = file.read(64)
        size = path.stat().st_size
    except OSError:
        return False
    if not start.startswith(_HDF5_SIGNATURE):
        return False
    # The end-of-file address follows the base address (and, in old superblocks, the free-space address).
    place = {0: 40, 1: 44}.get(start[8], 28)
    return size >= int.from_bytes(start[place : place + 8], "little")


def load_keras(model: Any, path: Path, name: str, *, top: bool) -> None:
    """Loads a weights file of Keras into a network.

    Args:
        model: a Keras model; changed in place.
        path: a `.h5` or `.keras` file.
        name: name of the network, for messages.
        top: whether the model includes its classifier.

    Raises:
        WeightsError: the file is missing, unreadable or of another network.
    """
    try:
        with quiet_stdout(), warnings.catch_warnings():
            # Keras only warns if it leaves layers unchanged; for us, such a file is of another network.
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", message=".*optimizer")
            check_weights_file(path)
            model.load_weights(path)
    except _UNREADABLE as error:
        part = "with" if top else "without"
        message = (
            f"'{path}' does not fit {name} {part} its classifier ({first_line(error)}): "
            "it is damaged or belongs to another network; check the file and the backbone's name"
        )
        raise WeightsError(message) from error


def load_torch(model: Any, path: Path, name: str, parts: Iterable[tuple[str, list[Part]]]) -> None:
    """Loads a state dictionary of PyTorch into a network.

    Args:
        model: a Keras model; changed in place.
        path: a `.pth` or `.pt` file.
        name: name of the network, for messages.
        parts: each layer with the tensors of its weights, in their order.

    Raises:
        WeightsError: the file is unreadable or lacks a tensor, or a tensor has another shape.
    """
    tensors = read_tensors(path)
    for layer, sources in parts:
        values = []
        for tensor, axes in sources:
            if tensor not in tensors:
                message = f"'{path}' has no tensor '{tensor}': expected the weights of {name}; check the file"
                raise WeightsError(message)
            value = tensors[tensor]
            values.append(value.transpose(axes) if axes and value.ndim == len(axes) else value)
        _assign(model.get_layer(layer), values, path, name)


def _assign(layer: Any, values: list[np.ndarray], path: Path, name: str) -> None:
    expected = [tuple(weight.shape) for weight in layer.weights]
    got = [value.shape for value in values]
    if got != expected:
        message = (
            f"'{path}' holds weights of shape {got} for layer '{layer.name}', expected {expected}: "
            f"it belongs to another network; use the weights of {name}"
        )
        raise WeightsError(message)
    layer.set_weights(values)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Redirects Keras's output to standard error: standard output belongs to the command's result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def first_line(error: BaseException) -> str:
    """Returns a foreign error's message in one line, shortened."""
    return " ".join(str(error).split())[:160] or type(error).__name__
