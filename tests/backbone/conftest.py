"""Weights files as PyTorch writes them, without PyTorch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def _opcodes(value: object) -> bytes:
    """The opcodes of a value, without the frame of a whole pickle."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _tensor(key: str, value: np.ndarray) -> bytes:
    steps = tuple(step // value.itemsize for step in value.strides)
    kind = [_opcodes("storage"), b"ctorch\nFloatStorage\n", *map(_opcodes, (key, "cpu", value.size))]
    view = b"".join(map(_opcodes, (0, value.shape, steps, False)))
    return b"ctorch._utils\n_rebuild_tensor_v2\n((" + b"".join(kind) + b"tQ" + view + b"tR"


def save_torch(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Writes what `torch.save(model.state_dict(), path)` writes for float32 tensors."""
    values = {name: np.ascontiguousarray(value, "<f4") for name, value in tensors.items()}
    items = [_opcodes(name) + _tensor(str(key), value) for key, (name, value) in enumerate(values.items())]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(items) + b"u.")
        for key, value in enumerate(values.values()):
            archive.writestr(f"w/data/{key}", value.tobytes())
    return path


@pytest.fixture
def torch_file(tmp_path: Path) -> Callable[[str, dict[str, np.ndarray]], Path]:
    """Writes a state dictionary to a file of `tmp_path`."""
    return lambda name, tensors: save_torch(tmp_path / name, tensors)
