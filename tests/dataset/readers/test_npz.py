"""Hostile .npz files: nothing is unpickled, nothing is unpacked that does not fit."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank import set_ram
from featurebank.dataset.readers.npz import read_npz
from featurebank.errors import DatasetError


@pytest.fixture
def little_ram() -> Iterator[None]:
    set_ram("10MB")
    yield
    set_ram(None)


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as refused:
        read_npz(str(path))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def npy(shape: tuple[int, ...], descr: Any = "|u1", data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


@pytest.mark.usefixtures("little_ram")
def test_a_compressed_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.npz", x=npy((20_000_000,), data=bytes(20_000_000)), y=npy((1,), data=b"0"))
    assert path.stat().st_size < 100_000
    assert "unpacks to 20 MB, the limit is 10 MB: use a larger --ram" in refusal(path)


def test_a_header_that_says_more_than_is_there(tmp_path: Path) -> None:
    for shape in ((1 << 50,), (1 << 40, 1 << 40), (200,)):
        message = refusal(archive(tmp_path / "x.npz", x=npy(shape, data=bytes(100)), y=npy((1,), data=b"0")))
        assert f"x.npy claims to hold {int(np.prod(np.array(shape, object)))} bytes" in message


def test_an_archive_that_says_less_than_it_holds(tmp_path: Path) -> None:
    path = archive(tmp_path / "lie.npz", x=npy((5000,), data=bytes(5000)))
    data = path.read_bytes()
    true, lie = (5000 + len(npy((5000,)))).to_bytes(4, "little"), (200).to_bytes(4, "little")
    assert data.count(true) == 2
    path.write_bytes(data.replace(true, lie))
    assert "not a whole .npz file" in refusal(path)


class Shell:
    """What runs a command when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.place,))


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    objects = np.array([Shell(ran)], object)
    np.savez(tmp_path / "o.npz", x=objects, y=np.zeros(1, int))
    assert "it holds pickled objects, which could run code" in refusal(tmp_path / "o.npz")
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Shell(ran)))
    assert "not a whole .npz file" in refusal(tmp_path / "p.npz")
    archive(tmp_path / "q.npz", x=pickle.dumps(Shell(ran)))
    assert "not a whole .npz file" in refusal(tmp_path / "q.npz")
    assert not ran.exists()


def whole() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(300, dtype=np.uint8).reshape(3, 10, 10), y=np.arange(3))
    return buffer.getvalue()


WHOLE = whole()


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=60)
def test_whatever_the_bytes_are(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, bits in flips:
        data[place] ^= bits
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(data)
    try:
        found = read_npz(str(path))
    except DatasetError as refused:
        if len(str(refused).splitlines()) == 1:
            return
        raise
    assert all(isinstance(array, np.ndarray) for array in found.values())
