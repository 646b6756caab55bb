"""The tables of a bank: what was written, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank.bank.manifest import MANIFEST, Manifest, load_items, load_manifest
from featurebank.errors import BankDamagedError, BankError, BankNotFoundError, FormatVersionError


def test_round_trip(make: Callable[..., Path]) -> None:
    path = make()
    manifest = load_manifest(path)
    manifest.save(path)
    assert load_manifest(path) == manifest
    assert len(load_items(path, manifest).ids) == 12


def test_any_flipped_byte_is_noticed(make: Callable[..., Path]) -> None:
    path = make(count=3, shards=1)
    whole = (path / MANIFEST).read_bytes()
    good = load_manifest(path)
    version = whole.index(b'"format_version": ') + len(b'"format_version": ')
    for place in range(len(whole)):
        for mask in (0x01, 0x02, 0x20):
            data = bytearray(whole)
            data[place] ^= mask
            (path / MANIFEST).write_bytes(data)
            expected = (BankDamagedError, FormatVersionError) if place == version else BankDamagedError
            try:
                found = load_manifest(path)
            except BankError as error:
                assert isinstance(error, expected)  # noqa: PT017 - the other branch is as good
            else:
                assert found == good, "1e5 and 1E5 are one number; nothing else may pass"


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"null", b"{}", b"\xff\xfe", b'{"format_version": 1}'])
def test_foreign_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(BankDamagedError, match="cache rm"):
        load_manifest(tmp_path)


def test_newer_version(make: Callable[..., Path]) -> None:
    path = make()
    value = json.loads((path / MANIFEST).read_text())
    for needs, remedy in (("3.1.4", r"install featurebank 3\.1\.4 or newer"), (None, "install a newer featurebank")):
        (path / MANIFEST).write_text(json.dumps({**value, "format_version": 3, "needs": needs}))
        with pytest.raises(FormatVersionError, match=rf"format version 3, this featurebank reads 2: {remedy}"):
            load_manifest(path)


def test_strict_reading_notices_other_bytes_of_the_same_meaning(make: Callable[..., Path]) -> None:
    path = make()
    data = (path / MANIFEST).read_bytes()
    (path / MANIFEST).write_bytes(data.replace(b' "taps"', b'\t"taps"', 1))
    assert load_manifest(path).taps == ("pooled",)
    with pytest.raises(BankDamagedError, match="damaged"):
        load_manifest(path, strict=True)


@pytest.mark.parametrize("place", ["nowhere", "file/inside"])
def test_nothing_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BankNotFoundError, match="cache ls"):
        load_manifest(tmp_path / place)


def test_damaged_items(make: Callable[..., Path]) -> None:
    path = make(count=3, shards=1)
    manifest = load_manifest(path)
    file = next(path.glob("items-*.page"))
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BankDamagedError, match="extract"):
            load_items(path, manifest)
    file.unlink()
    with pytest.raises(BankDamagedError, match="extract"):
        load_items(path, manifest)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("dataset", "subset", "x"), ("dataset", "classes", "abc"), ("dataset", "spec", [1]), ("event", "versions", "x"),
        ("event", "seconds", 10**400), ("event", "seconds", "1"), ("event", "time", 5), ("event", "added", {}),
    ],
)  # fmt: skip
def test_values_that_no_writer_writes(part: str, name: str, value: object) -> None:
    dataset = {"name": "data", "classes": ["a"]} | ({name: value} if part == "dataset" else {})
    with pytest.raises((TypeError, ValueError), match=name):
        Manifest({"backbone": "net"}, dataset, history=({name: value},) if part == "event" else ())
