"""The table of images: whatever the names and further columns are."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank.items import Items
from featurebank.bank.pages.packed_text import PackedText

names = st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=8)


@given(names)
def test_packed_text_is_a_sequence_of_its_strings(ids: list[str]) -> None:
    packed = PackedText.pack(ids)
    assert (list(packed), len(packed), packed == ids) == (ids, len(ids), True)
    assert [packed[i] for i in range(len(ids))] == ids
    assert packed[1:] == ids[1:]
    assert [packed[-i - 1] for i in range(len(ids))] == ids[::-1]
    with pytest.raises(IndexError):
        packed[len(ids)]


@given(st.lists(st.text("ab", max_size=3), max_size=8), st.text("ab", max_size=3))
def test_packed_text_finds_its_strings(ids: list[str], value: str) -> None:
    packed = PackedText.pack(ids)
    if value in ids:
        assert packed.index(value) == ids.index(value)
    else:
        with pytest.raises(ValueError, match=r"^$|not in the list"):
            packed.index(value)


@given(names, st.randoms(use_true_random=False))
def test_round_trip(ids: list[str], random: object) -> None:
    """Whatever the names are, and where there are none."""
    generator = np.random.default_rng(random.randrange(1 << 30))  # type: ignore[attr-defined]
    count = len(ids)
    digests = np.array([f"{n:032x}".encode() for n in generator.integers(0, 3, count)], "S32")
    labels = generator.integers(0, 9, count, dtype=np.int32)
    splits = generator.integers(0, 3, count, dtype=np.uint8)
    metadata = {"": labels * 2.5, "a/b \n": np.array([f"é{n}" for n in labels], "U"), "flag": labels > 3}
    ordered = Items(tuple(ids), digests, labels, splits, metadata).sorted()
    found = Items.from_bytes(ordered.to_bytes())
    expected = sorted(zip(digests.tolist(), ids, labels.tolist(), splits.tolist(), strict=True))
    columns = (found.digests.tolist(), found.ids, found.labels.tolist(), found.splits.tolist())
    assert list(zip(*columns, strict=True)) == expected
    assert ordered.to_bytes() == found.to_bytes()
    assert list(found.metadata) == list(metadata)
    assert found.metadata[""].tolist() == (found.labels * 2.5).tolist()
    assert found.metadata["a/b \n"].tolist() == [f"é{n}" for n in found.labels]


def test_digest_is_of_what_heads_depend_on() -> None:
    digests = np.array([f"{n:032x}".encode() for n in range(3)], "S32")
    labels, splits = np.arange(3, dtype=np.int32), np.zeros(3, np.uint8)
    plain = Items(("a", "b", "c"), digests, labels, splits)
    assert Items(("a", "b", "c"), digests, labels, splits, {"camera": labels}).digest == plain.digest
    assert Items(("a", "b", "d"), digests, labels, splits).digest != plain.digest
    assert Items(("a", "b", "c"), digests, labels[::-1], splits).digest != plain.digest


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([0, 3], np.int32)}, {"labels": np.array([0, -1], np.int32)}, {"labels": np.zeros((2, 1))},
        {"splits": np.array([0, 3], np.uint8)}, {"splits": np.zeros(3, np.uint8)}, {"digests": np.zeros(2)},
        {"ids": PackedText(np.frombuffer(b"ab", np.uint8), np.array([2, 1]))},
        {"ids": PackedText(np.frombuffer(b"ab", np.uint8), np.array([1, 9]))},
        {"ids": PackedText(np.frombuffer("é".encode(), np.uint8), np.array([1, 2]))},
        {"ids": PackedText(np.frombuffer(b"\xff\xfe", np.uint8), np.array([1, 2]))},
        {"metadata": {"height": np.zeros(1)}},
    ],
)  # fmt: skip
def test_a_table_that_no_writer_writes_is_refused(change: dict[str, object]) -> None:
    digests = np.array([b"0" * 32, b"1" * 32], "S32")
    items = Items(["ä", "b"], digests, np.array([0, 2], np.int32), np.array([0, 2], np.uint8))
    items.check(3)
    with pytest.raises(ValueError, match=r"."):
        replace(items, **change).check(3)  # type: ignore[arg-type]


def member(shape: str = "(2,)", dtype: str = "<i4", body: bytes = bytes(8)) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels", member("(10000000000000,)")), ("labels", member(f"({10**30},)")), ("labels", member("(-1,)")),
        ("labels", member("()")), ("labels", member("(2, 1)")), ("labels", member(dtype="|O")), ("labels", b""),
        ("labels", b"cos\nsystem\n(S'true'\ntR."), ("labels", b"\x93NUMPY\x01\x00" + struct.pack("<H", 9) + b"(" * 9),
        ("labels", member(body=bytes(7))), ("metadata_names", member("(5,)", "|u1", b'[["]]')),
        ("metadata_names", member("(7,)", "|u1", b'[["x"]]')),
        ("metadata_names", member("(9000,)", "|u1", b"[" * 9000)),
        ("metadata_0", member("(2,)", "<U1", b"\xff\xff\xff\x7f" * 2)), ("metadata_0", member("()", "<i4", bytes(4))),
    ],
)  # fmt: skip
def test_bytes_that_no_writer_writes_are_refused_whatever_they_claim(name: str, content: bytes) -> None:
    digests = np.array([b"0" * 32, b"1" * 32], "S32")
    data = Items(["a", "b"], digests, np.zeros(2, np.int32), np.zeros(2, np.uint8), {"x": np.zeros(2)}).to_bytes()
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(changed, "w") as target:
        for one in source.namelist():
            target.writestr(one, content if one == f"{name}.npy" else source.read(one))
    with pytest.raises(ValueError, match=r"."):
        Items.from_bytes(changed.getvalue())


def test_a_table_that_grows_when_it_is_unpacked_is_refused() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("labels.npy", bytes(1 << 20))
    with pytest.raises(ValueError, match="larger than the file"):
        Items.from_bytes(data.getvalue())
