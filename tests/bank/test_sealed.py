"""JSON that knows its own checksum."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurebank.bank.sealed import read_sealed, write_sealed

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
