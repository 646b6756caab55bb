"""A page is a file of NumPy arrays: people can read it, and a reader trusts no byte of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from featurebank.bank.pages.page import Page, PageEntry, is_whole_page, write_page
from featurebank.errors import BankDamagedError, BankUnreadableError

numbers = st.sampled_from(["u1", "<i4", "<i8", "<f8", "|b1", "<U3", "|S32"])
columns = st.dictionaries(
    st.sampled_from("abcde"), numbers.flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 9))), min_size=1
)


@settings(max_examples=25)
@given(columns)
def test_it_holds_the_columns(values: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        entry = write_page(Path(folder), "items", values)
        assert PageEntry.from_dict(entry.to_dict()) == entry
        assert is_whole_page(Path(folder), entry)
        page = Page(Path(folder), entry, "")
        for name, column in values.items():
            found = page.column(name)
            assert (found.dtype, found.tobytes()) == (column.dtype, column.tobytes())
            assert found.flags.aligned
            assert not found.flags.writeable
        with Path(folder, entry.file).open("rb") as file:  # as people read it
            assert [np.load(file).tobytes() for _ in values] == [column.tobytes() for column in values.values()]
            assert file.read() == b""


@pytest.fixture
def entry(tmp_path: Path) -> PageEntry:
    return write_page(tmp_path, "items", {"a": np.arange(1000), "b": np.arange(5, dtype=np.uint8)})


def test_equal_columns_have_one_name(tmp_path: Path, entry: PageEntry) -> None:
    assert write_page(tmp_path, "items", {"a": np.arange(1000), "b": np.arange(5, dtype=np.uint8)}) == entry
    assert write_page(tmp_path, "items", {"a": np.arange(1001)}).file != entry.file


@pytest.mark.parametrize("size", [0, 1, 4096, -1])
def test_another_size_is_damage_and_never_ends_the_process(tmp_path: Path, entry: PageEntry, size: int) -> None:
    os.truncate(tmp_path / entry.file, entry.bytes + size if size < 0 else size)
    with pytest.raises(BankDamagedError, match=r"items-.*; do this"):
        Page(tmp_path, entry, "do this")
    assert not is_whole_page(tmp_path, entry)


def test_a_flipped_byte_is_found_in_its_column_alone(tmp_path: Path, entry: PageEntry) -> None:
    path = tmp_path / entry.file
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert not is_whole_page(tmp_path, entry)
        page = Page(tmp_path, entry, "do this")
        for name, column in entry.columns.items():
            if column.offset <= place < column.offset + column.rows * column.itemsize:
                with pytest.raises(BankDamagedError, match="do this"):
                    page.column(name)
            else:
                assert len(page.column(name)) == column.rows


def test_a_file_that_is_gone(tmp_path: Path, entry: PageEntry) -> None:
    page = Page(tmp_path, entry, "")
    (tmp_path / entry.file).unlink()
    assert page.column("a").tolist() == list(range(1000)), "the map stays"
    with pytest.raises(BankDamagedError):
        Page(tmp_path, entry, "")
    assert not is_whole_page(tmp_path, entry)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_damage(tmp_path: Path, entry: PageEntry) -> None:
    (tmp_path / entry.file).unlink()
    os.mkfifo(tmp_path / entry.file)
    for read in (lambda: Page(tmp_path, entry, ""), lambda: is_whole_page(tmp_path, entry)):
        with pytest.raises(BankUnreadableError, match="a named pipe"):
            read()


def test_what_was_released_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.bank.pages.page._RELEASED", 1 << 12)
    values = np.arange(10_000)
    page = Page(tmp_path, write_page(tmp_path, "items", {"a": values}), "")
    column = page.column("a")
    page.release()
    assert np.array_equal(column, values)
