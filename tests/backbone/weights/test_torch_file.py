from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from featurebank.backbone.table import TABLE
from featurebank.backbone.weights.torch_file import read_tensors
from featurebank.errors import WeightsError
from featurebank.system.archive import FREE_BYTES

MAGIC = 0x1950A86A20F9469CFC6C
DATA = np.arange(12, dtype="<f4")


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _pickled(value: object) -> bytes:
    """The opcodes of a value, without the frame of a whole pickle."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], marker: str = "FloatStorage") -> bytes:
    pid = b"(" + _pickled("storage") + _global("torch", marker) + _pickled("7") + _pickled("cpu") + _pickled(12) + b"Nt"
    arguments = b"(" + pid + b"Q" + b"".join(_pickled(v) for v in (offset, shape, strides, False)) + b"Nt"
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _state(*tensors: bytes) -> bytes:
    items = b"".join(_pickled(f"t{i}") + tensor for i, tensor in enumerate(tensors))
    return b"\x80\x02" + _global("collections", "OrderedDict") + b")R(" + items + b"u."


def _sequential(state: bytes) -> bytes:
    head = [pickle.dumps(v, protocol=2) for v in (MAGIC, 1001, {"little_endian": True})]
    return b"".join([*head, state, pickle.dumps(["7"], protocol=2), struct.pack("<q", 12), DATA.tobytes()])


def _zipped(state: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", state)
        archive.writestr("model/data/7", DATA.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("layout", [_sequential, _zipped])
def test_offset_shape_and_strides(layout, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(layout(_state(_tensor(0, (3, 4), (4, 1)), _tensor(2, (4, 2), (1, 4)), _tensor(11, (), ()))))
    tensors = read_tensors(path)
    np.testing.assert_array_equal(tensors["t0"], DATA.reshape(3, 4))
    np.testing.assert_array_equal(tensors["t1"], DATA[2:10].reshape(2, 4).T)
    assert tensors["t2"].shape == ()
    assert tensors["t2"] == 11


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (1, (3, 4), (4, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (99,), (0,)), (0, (2, 2), (1,))],
)
def test_a_tensor_outside_of_its_storage_is_refused(offset, shape, strides, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(_sequential(_state(_tensor(offset, shape, strides))))
    with pytest.raises(WeightsError, match="exceeds its storage"):
        read_tensors(path)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("layout", [_sequential, _zipped])
def test_a_malicious_pickle_is_refused_and_not_run(layout, tmp_path: Path) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "pwned"
    path.write_bytes(layout(pickle.dumps(collections.OrderedDict(t=_Evil(marker)), protocol=2)))
    with pytest.raises(WeightsError, match=r"names '(posix|nt)\.system'") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(("module", "name"), [("builtins", "eval"), ("torch", "load"), ("collections", "namedtuple")])
def test_every_other_global_is_refused(module: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(_sequential(b"\x80\x02" + _global(module, name) + b"."))
    with pytest.raises(WeightsError, match=f"names '{module}.{name}'"):
        read_tensors(path)


def test_other_element_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(_sequential(_state(_tensor(0, (1,), (1,), marker="HalfStorage"))))
    with pytest.raises(WeightsError, match=r"torch\.HalfStorage"):
        read_tensors(path)


@pytest.mark.parametrize("layout", [_sequential, _zipped])
def test_a_file_cut_anywhere_is_refused(layout, tmp_path: Path) -> None:
    whole = layout(_state(_tensor(0, (12,), (1,))))
    path = tmp_path / "cut.pth"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="cannot be"):
            read_tensors(path)


def test_the_embedded_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    path.write_bytes(TABLE["efficientnet_lite0"].own_file(top=True).read_bytes()[:-4])
    with pytest.raises(WeightsError, match="download or save it again"):
        read_tensors(path)


def test_the_embedded_file() -> None:
    tensors = read_tensors(TABLE["efficientnet_lite0"].own_file(top=True))
    assert len(tensors) == 296
    assert tensors["_fc.weight"].shape == (1000, 1280)
    assert tensors["_bn0.running_var"].min() >= 0
    assert tensors["_bn0.num_batches_tracked"].dtype == np.int64


def test_a_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", _state(_tensor(0, (12,), (1,))))
        archive.writestr("model/data/7", bytes(FREE_BYTES + 1))
    with pytest.raises(WeightsError, match="unpack to"):
        read_tensors(path)
