"""JSON that knows its own checksum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featurebank.system.sealed_json import is_whole_archive, read_sealed, seal_archive, write_sealed

VALUE = {"run": "a0", "metrics": {"accuracy": 0.5}, "notes": ["ü", None], "checks": 1}


def test_round_trip(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", VALUE)
    assert read_sealed(tmp_path / "a.json") == read_sealed(tmp_path / "a.json", strict=True) == VALUE


def test_any_flipped_byte_is_noticed_by_strict_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, VALUE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for mask in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            with pytest.raises(ValueError, match=r".+"):
                read_sealed(path, strict=True)
            try:
                found = read_sealed(path)
            except ValueError:
                continue
            assert found == VALUE, "a blank may be another blank; nothing else may pass"


@pytest.mark.parametrize("data", [b"", b"[1]", b"{}", b"null", b'{"checksum": null}'])
def test_foreign_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r".+"):
        read_sealed(tmp_path / "a.json")


def test_every_flipped_byte_and_every_cut_of_an_archive_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(5), b=np.zeros(0))
    assert is_whole_archive(path) is None, "as featurebank 0.1 wrote them"
    seal_archive(path)
    whole = path.read_bytes()
    assert is_whole_archive(path)
    with np.load(path) as read:
        assert read["a"].tolist() == [0, 1, 2, 3, 4]
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        assert is_whole_archive(path) is False, place
        path.write_bytes(whole[:place])
        assert is_whole_archive(path) is False, place
