"""A bank of many shards: its manifest lists pages, and all that reads or changes it sees the same shards as ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.pages import shard_pages
from featurebank.bank.pages.page import write_page
from featurebank.bank.pages.shard_pages import (
    PATTERN,
    RowDigests,
    listed_pages,
    listing,
    read_listing,
    with_new_pages,
)
from featurebank.bank.reader import Bank
from featurebank.bank.shard import ShardEntry
from featurebank.errors import BankDamagedError
from featurebank.system import digest
from featurebank.system.files import write_json


@pytest.fixture(autouse=True)
def small_pages() -> Iterator[None]:
    """Pages of three shards; at most eight shards in the manifest itself."""
    with patch.multiple(shard_pages, SHARDS_A_PAGE=3, MOST_LISTED=8):
        yield


@pytest.fixture
def paged(make: Callable[..., Path]) -> Path:
    """Twenty rows in ten shards: three pages of three, and one shard in the manifest itself."""
    return make(count=20, shards=10)


def listed(path: Path) -> list[str]:
    return [next(iter(value)) for value in json.loads((path / MANIFEST).read_text())["shards"]]


def test_many_shards_are_in_pages(paged: Path, rows: SimpleNamespace) -> None:
    assert listed(paged) == ["page", "page", "page", "file"]
    assert {file.name for file in paged.glob(PATTERN)} == {page.entry.file for page in load_manifest(paged).pages}
    assert Bank(paged).features().tolist() == rows.features(range(20)).tolist()
    assert verify_bank(paged).damaged == ()
    assert not plan_gc(paged).files


def test_rows_are_found_without_opening_the_shards(paged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(shard_pages, "read_keys", lambda _, shard: opened.append(shard.file) or np.empty(0))
    bank = Bank(paged)
    digests_of = RowDigests(paged, bank.manifest.pages)
    found = [digests_of(shard) for shard in bank.manifest.shards[:9]]
    assert (opened, sorted(np.concatenate(found).tolist())) == ([], bank.digests()[:18].tolist())


entries = [
    ShardEntry(f"shard-{n}.h5", 2, 66, "", "", {}) for n in range(12)
]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_comes_and_goes_the_order_stays(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp()
    known = {shard.file: np.array([f"{n:032x}".encode()] * 2, "S32") for n, shard in enumerate(entries)}
    shards: tuple[ShardEntry, ...] = ()
    pages: tuple[shard_pages.ShardPage, ...] = ()
    for _ in range(data.draw(st.integers(1, 5))):
        gone = [entries[number] for number in data.draw(st.sets(st.integers(0, 11)))]
        new = [shard for shard in data.draw(st.permutations(entries)) if shard not in shards or shard in gone]
        shards = (*(s for s in shards if s not in gone), *new[: data.draw(st.integers(0, len(new)))])
        pages = with_new_pages(path, shards, pages, known)
        assert pages == listed_pages(shards, pages)
        value = json.loads(json.dumps(listing(shards, pages)))
        assert sum("file" in part for part in value) <= 8
        found, again = read_listing(path, value, "")
        assert (found, again) == (shards, pages)
        digests_of = RowDigests(path, again)
        for page in again:
            assert [digests_of(shard).tolist() for shard in page.shards] == [
                known[s.file].tolist() for s in page.shards
            ]


def test_shards_that_move_take_their_pages_with_them(paged: Path, rows: SimpleNamespace) -> None:
    """Images leave, the clean-up rewrites shards, new ones come: pages that nothing lists are deleted."""
    with rows.writer(paged) as to:
        to.finish(rows.items(range(4, 20, 1)), ["pooled"], [], None)
    collect(paged)
    for numbers in (range(20, 22), range(22, 30)):
        with rows.writer(paged) as to:
            for number in numbers:
                rows.append(to, range(number, number + 1), "pooled")
                to.flush()
            to.finish(rows.items(range(4, numbers.stop)), ["pooled"], [], None)
    assert Bank(paged).features().tolist() == rows.features(range(4, 30)).tolist()
    assert not plan_gc(paged).files
    assert verify_bank(paged).damaged == ()
    assert len([name for name in listed(paged) if name == "file"]) <= 8


def test_a_bank_of_pages_is_merged(paged: Path, make: Callable[..., Path], rows: SimpleNamespace) -> None:
    merged = merge_banks([paged, make("other", count=25, shards=2)], paged.parent / "cache")
    assert merged.features().tolist() == rows.features(range(25)).tolist()
    assert len(merged.manifest.pages) == 4


def test_the_pages_of_forgotten_shards_go(paged: Path) -> None:
    shard = load_manifest(paged).shards[1]
    (paged / shard.file).write_bytes(b"x")
    assert verify_bank(paged, forget=True).forgotten == (shard.file,)
    assert {file.name for file in paged.glob(PATTERN)} == {page.entry.file for page in load_manifest(paged).pages}
    assert listed(paged) == ["file", "file", "page", "page", "file"]


def test_a_shard_in_a_page_that_is_gone_is_made_again(paged: Path, rows: SimpleNamespace) -> None:
    shard = load_manifest(paged).shards[1]
    (paged / shard.file).unlink()
    with rows.writer(paged) as to:
        assert [shard.file in line for line in to.lost] == [True]
        missing = sorted(set(rows.digests(range(20)).tolist()) - set(to.stored("pooled").tolist()))
        assert missing == rows.digests(range(2, 4)).tolist()
        rows.append(to, range(2, 4), "pooled")
        to.finish(rows.items(range(20)), ["pooled"], [], None)
    assert Bank(paged).features().tolist() == rows.features(range(20)).tolist()


# ---- damage


def flip(path: Path, entry: Any, column: str) -> None:
    data = bytearray((path / entry.file).read_bytes())
    data[entry.columns[column].offset + 3] ^= 1
    (path / entry.file).write_bytes(data)


def test_damaged_digests_are_found_and_written_again(paged: Path, rows: SimpleNamespace) -> None:
    entry = load_manifest(paged).pages[1].entry
    flip(paged, entry, "digests")
    assert [entry.file in line for line in verify_bank(paged).damaged] == [True]
    with pytest.raises(BankDamagedError, match=rf"{entry.file}.*'featurebank extract' again"):
        Bank(paged).features()
    with rows.writer(paged) as to:
        assert (to.lost, len(to.stored("pooled"))) == ((), 20), "the shards have their digests, too"
        to.finish(rows.items(range(20)), ["pooled"], [], None)
    assert verify_bank(paged).damaged == ()
    assert Bank(paged).features().tolist() == rows.features(range(20)).tolist()


@pytest.mark.parametrize("change", ["flipped", "missing", "shorter"])
def test_a_bank_without_the_entries_of_its_shards_is_damaged(paged: Path, change: str) -> None:
    entry = load_manifest(paged).pages[1].entry
    if change == "flipped":
        flip(paged, entry, "entries")
    elif change == "missing":
        (paged / entry.file).unlink()
    else:
        (paged / entry.file).write_bytes((paged / entry.file).read_bytes()[:-1])
    for read in (load_manifest, verify_bank, plan_gc, Bank):
        with pytest.raises(BankDamagedError, match=rf"{entry.file}.*cache rm"):
            read(paged)


def test_a_writer_replaces_pages_while_the_manifest_is_read(
    paged: Path, monkeypatch: pytest.MonkeyPatch, rows: SimpleNamespace
) -> None:
    read = read_listing

    def read_later(*arguments: Any) -> Any:
        monkeypatch.undo()
        manifest = load_manifest(paged)
        with rows.writer(paged) as to:
            to.replace(manifest.shards[:1], [])
            rows.append(to, range(2), "pooled")
        return read(*arguments)

    monkeypatch.setattr("featurebank.bank.manifest.read_listing", read_later)
    before = load_manifest(paged)
    assert len(before.shards) == 10
    assert Bank(paged).features().tolist() == rows.features(range(20)).tolist()


def test_an_open_bank_reads_on_when_its_pages_are_replaced(paged: Path, rows: SimpleNamespace) -> None:
    bank = Bank(paged)
    with rows.writer(paged) as to:
        rows.append(to, range(20, 28), "pooled")
    for page in bank.manifest.pages:
        (paged / page.entry.file).unlink(missing_ok=True)
    assert bank.features().tolist() == rows.features(range(20)).tolist()


# ---- what a stranger writes


def changed(manifest: Manifest, path: Path, **columns: Any) -> None:
    """Replaces the first page by one with other columns, with checksums that hold."""
    page = manifest.pages[0]
    texts = json.dumps([shard.to_dict() for shard in page.shards]).encode()
    digests = np.concatenate([RowDigests(path, [page])(shard) for shard in page.shards])
    entry = write_page(path, "shards", {"entries": np.frombuffer(texts, np.uint8), "digests": digests} | columns)
    value = json.loads((path / MANIFEST).read_text())
    del value["checksum"]
    value["shards"][0] = {"page": entry.to_dict()}
    write_json(path / MANIFEST, {**value, "checksum": digest.of_recipe(value)})


def text(value: str) -> np.ndarray:
    return np.frombuffer(value.encode(), np.uint8)


@pytest.mark.parametrize(
    "columns",
    [
        {"entries": text("[]")}, {"entries": text("[" * 100_000)}, {"entries": text("x")}, {"entries": text("{}")},
        {"entries": text('[{"file": "../x"}]')}, {"entries": np.zeros(3, np.int64)}, {"digests": np.zeros(5, "S32")},
        {"digests": np.zeros(6, "S31")}, {"entries": text("[[[]]]")}, {"entries": text("null")},
    ],
)  # fmt: skip
def test_pages_that_no_writer_writes(paged: Path, columns: dict[str, np.ndarray]) -> None:
    changed(load_manifest(paged), paged, **columns)
    for read in (load_manifest, Bank, verify_bank, collect):
        with pytest.raises(BankDamagedError, match=r"was not written by featurebank \(.*cache rm"):
            read(paged)


def test_digests_that_are_not_those_of_the_shards(paged: Path) -> None:
    """Readers cannot see it without opening the shards; `cache verify` does."""
    changed(load_manifest(paged), paged, digests=np.array([b"f" * 32] * 6, "S32"))
    with pytest.raises(BankDamagedError, match="lacks 6 rows"):
        Bank(paged).features()
    assert len(verify_bank(paged).damaged) == 1


def test_a_page_that_lists_a_shard_twice(paged: Path, rows: SimpleNamespace) -> None:
    manifest = load_manifest(paged)
    twice = replace(manifest, shards=(*manifest.shards, *manifest.shards[:3]))
    twice.save(paged)
    assert Bank(paged).features().tolist() == rows.features(range(20)).tolist()
