"""Archives of strangers: bombs, names that leave them, and damage are refused before anything is unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.errors import ArchiveError
from featurebank.system.archive import FREE_BYTES, open_archive, read_npy, read_npz


def archive(members: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def twice() -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        file.writestr("a", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a", b"two")
    return buffer.getvalue()


def link() -> bytes:
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        file.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def bomb() -> bytes:
    return archive({"a": bytes(FREE_BYTES + 1)}, compression=zipfile.ZIP_DEFLATED)


def overlapping() -> bytes:
    """Two entries of the directory for the same bytes, as a bomb without compression has thousands."""
    data = bytearray(archive({"a": bytes(1000)}))
    entry = data[data.index(b"PK\x01\x02") : data.index(b"PK\x05\x06")]
    second = entry.replace(b"a", b"b")
    end = bytearray(data[data.index(b"PK\x05\x06") :])
    struct.pack_into("<HHI", end, 8, 2, 2, 2 * len(entry))
    return bytes(data[: data.index(b"PK\x05\x06")] + second + end)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bomb, "unpack to 67,108,865, more than 32 times its size"), (twice, "have the same name"),
        (link, "is a link"), (overlapping, "overlap"),
        (lambda: archive({"../a": b""}), "leads outside"), (lambda: archive({"a/../../b": b""}), "leads out"),
        (lambda: archive({"/etc/a": b""}), "leads out"), (lambda: archive({"c:a": b""}), "leads out"),
        (lambda: archive({"a\\b": b""}), "leads out"), (lambda: archive({"other": b""}), "is not expected"),
        (lambda: archive({"a": b"text"})[:-5], "no whole ZIP|not a whole ZIP"), (lambda: b"", "not a whole ZIP"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_safe_is_refused(data: Any, message: str, tmp_path: Path) -> None:
    content = data()
    (tmp_path / "file").write_bytes(content)
    for source in (content, tmp_path / "file"):
        with pytest.raises(ArchiveError, match=message), open_archive(source, allowed={"a", "b"}):
            pass


def test_a_size_that_lies_unpacks_no_more_than_it_says() -> None:
    data = bytearray(archive({"a": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED))
    for place in (data.index(b"PK\x01\x02") + 24, data.index(b"PK\x03\x04") + 22):
        struct.pack_into("<I", data, place, 100)
    with open_archive(bytes(data)) as found, pytest.raises(ArchiveError, match="its member 'a' is damaged"):
        found.read("a")


def test_a_flipped_byte_is_found() -> None:
    data = bytearray(archive({"a": b"some text"}))
    data[data.index(b"text")] ^= 1
    with open_archive(bytes(data)) as found, pytest.raises(ArchiveError, match="is damaged"):
        found.verify()


def test_members_are_read_and_written(tmp_path: Path) -> None:
    with open_archive(archive({"a": b"text", "b/c": b"more"})) as found:
        found.verify()
        assert (found.names, found.read("a")) == (("a", "b/c"), b"text")
        assert found.extract("a", tmp_path).read_bytes() == b"text"
        with pytest.raises(ArchiveError, match="is a path"):
            found.extract("b/c", tmp_path)
        with pytest.raises(ArchiveError, match="no member 'x'"):
            found.read("x")


def test_arrays_are_read(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array("text"),
        "c": np.asfortranarray(np.ones((2, 3), np.int8)),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def npy(array: np.ndarray) -> bytes:
    np.save(buffer := io.BytesIO(), array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.array([{}], object)), "holds Python objects"),
        (npy(np.ones(9)).replace(b"(9,), }     ", b"(9999999,), }"), "does not match its shape"),
        (npy(np.ones(9))[:-1], "does not match its shape"), (npy(np.ones(9)) + b"x", "does not match its shape"),
        (npy(np.ones(9)).replace(b"'<f8'", b"open("), "cannot be read"), (b"", "cannot be read"),
    ],
)  # fmt: skip
def test_an_array_that_is_not_sound_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        read_npy(data, "a.npy")
