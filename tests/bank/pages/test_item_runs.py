"""A table in runs is the table: whatever was added, removed, relabelled or renamed, and in which order."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.bank.items import Items
from featurebank.bank.pages import item_runs, item_table
from featurebank.bank.pages.item_runs import PATTERN, remaining_runs, run_entries, write_items
from featurebank.bank.pages.item_table import open_items
from featurebank.bank.pages.stored_items import StoredItems
from featurebank.errors import BankDamagedError

Image = tuple[int, int, int, float]
images = st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.5, np.nan]))
tables = st.dictionaries(st.text("aé/", min_size=1, max_size=3), images, max_size=12)


def table(chosen: dict[str, Image]) -> Items:
    """The images of a table in their canonical order; the camera is a further column of strings."""
    digests = np.array([f"{image[0]:032x}".encode() for image in chosen.values()], "S32")
    labels = np.array([image[1] for image in chosen.values()], np.int32)
    splits = np.array([image[2] for image in chosen.values()], np.uint8)
    metadata = {"metres": np.array([image[3] for image in chosen.values()]), "camera": np.array(list(chosen), "U3")}
    return Items(list(chosen), digests, labels, splits, metadata).sorted()


def assert_same(found: Items, expected: Items) -> None:
    count = len(expected.digests)
    every = np.arange(count)
    assert len(found) == count
    assert list(found.ids) == list(found.ids_at(every)) == list(expected.ids)
    assert [found.ids[place] for place in range(count)] == list(expected.ids)
    assert [found.ids.index(name) for name in expected.ids] == list(range(count))
    for name in ("digests", "labels", "splits"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert found.digests_at(every[::-1]).tolist() == expected.digests[::-1].tolist()
    assert found.words().tolist() == expected.words().tolist()
    assert found.content_digest == expected.content_digest
    assert found.digest == expected.digest
    assert list(found.metadata) == list(expected.metadata)
    assert found.metadata["camera"].tolist() == expected.metadata["camera"].tolist()
    assert np.array_equal(found.metadata["metres"], expected.metadata["metres"], equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(tables, min_size=1, max_size=6), st.sampled_from([2, 3, 8]), st.sampled_from([0, 1, 4]), st.booleans())
def test_any_sequence_of_tables_gives_the_last_one(
    steps: list[dict[str, Image]], fan: int, share: int, lazy: bool
) -> None:
    listed: dict[str, Any] | None = None
    with (
        tempfile.TemporaryDirectory() as folder, patch.multiple(item_runs, ONE_RUN=0, FAN=fan, SHARE=share),
        patch.object(item_table, "EAGER_BYTES", 0 if lazy else 1 << 20),
    ):  # fmt: skip
        for step in steps:
            expected = table(step)
            listed = write_items(Path(folder), listed, expected)
            assert listed["count"] == len(step)
            assert listed["digest"] == expected.digest
            found = open_items(Path(folder), listed, 3)
            assert isinstance(found, StoredItems) == lazy
            assert_same(found, expected)


def many(count: int) -> dict[str, Image]:
    return {f"{number}.png": (number * 7919 % 100_003, number % 3, number % 2, 0.5) for number in range(count)}


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A table of 2000 images in one run, as large ones are."""
    monkeypatch.setattr(item_runs, "ONE_RUN", 100)
    monkeypatch.setattr(item_table, "EAGER_BYTES", 0)
    return SimpleNamespace(path=tmp_path, images=many(2000), listed=write_items(tmp_path, None, table(many(2000))))


def written(stored: SimpleNamespace, images: dict[str, Image]) -> dict[str, Any]:
    return write_items(stored.path, stored.listed, table(images))


def test_a_few_changes_write_a_small_run(stored: SimpleNamespace) -> None:
    images = dict(stored.images)
    del images["3.png"]
    images["4.png"] = (*images["4.png"][:1], 2 - images["4.png"][1], *images["4.png"][2:])
    images["new.png"] = (100_004, 0, 0, 0.5)
    listed = written(stored, images)
    sizes = [page["bytes"] for page in listed["pages"]]
    assert listed["pages"][:1] == stored.listed["pages"]
    assert len(sizes) == 2
    assert sizes[1] < sizes[0] / 40
    found = open_items(stored.path, listed, 3)
    assert_same(found, table(images))
    assert found.ids.index("new.png") == list(found.ids).index("new.png")
    with pytest.raises(ValueError, match=r"'3\.png' is not in the list"):
        found.ids.index("3.png")


def test_no_change_writes_nothing(stored: SimpleNamespace) -> None:
    before = {file: file.stat().st_mtime_ns for file in stored.path.iterdir()}
    assert written(stored, stored.images) == stored.listed
    assert {file: file.stat().st_mtime_ns for file in stored.path.iterdir()} == before


def test_the_runs_stay_few_and_what_is_written_is_little(stored: SimpleNamespace) -> None:
    images, listed, size = dict(stored.images), stored.listed, 0
    for step in range(24):
        images |= {f"{step}-{n}.png": (200_000 + 31 * step + 7 * n, 0, 0, 0.5) for n in range(4)}
        known = {page["file"] for page in listed["pages"]}
        listed = write_items(stored.path, listed, table(images))
        size += sum(page["bytes"] for page in listed["pages"] if page["file"] not in known)
        assert len(listed["pages"]) <= 1 + 2 * item_runs.FAN
    assert_same(open_items(stored.path, listed, 3), table(images))
    assert size < 2 * stored.listed["pages"][0]["bytes"], "24 whole tables would be 24 times"


def test_many_changes_write_the_whole_table(stored: SimpleNamespace) -> None:
    images = {name: (image[0], 2 - image[1], *image[2:]) for name, image in stored.images.items()}
    assert len(written(stored, images)["pages"]) == 1


@pytest.mark.parametrize("change", ["missing", "shorter", "flipped"])
def test_a_damaged_run_is_written_again(stored: SimpleNamespace, change: str) -> None:
    file = stored.path / stored.listed["pages"][0]["file"]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data if change == "flipped" else data[:-1])
    if change == "missing":
        file.unlink()
    with pytest.raises(BankDamagedError, match=r"items-.*\.page.*'featurebank extract' again"):
        _ = open_items(stored.path, stored.listed, 3).metadata
    listed = written(stored, {**stored.images, "new.png": (100_004, 0, 0, 0.5)})
    assert len(listed["pages"]) == 1
    assert len(open_items(stored.path, listed, 3).ids) == 2001


def test_each_column_is_verified_when_it_is_used(stored: SimpleNamespace) -> None:
    """A large table is not read when it is opened; what is damaged is found by what reads it."""
    file = stored.path / stored.listed["pages"][0]["file"]
    whole = file.read_bytes()
    for name, column in stored.listed["pages"][0]["columns"].items():
        data = bytearray(whole)
        data[column["offset"]] ^= 1
        file.write_bytes(data)
        found = open_items(stored.path, stored.listed, 3)
        together = {"labels", "splits"}  # each says whether the other can be
        others = {"digests", "labels", "splits"} - (together if name in together else {name})
        assert all(len(getattr(found, other)) == 2000 for other in others)
        read = "ids" if name.startswith("id_") else "metadata" if name.startswith("metadata") else name
        with pytest.raises(BankDamagedError, match=r"items-.*\.page"):
            getattr(found, read)


def test_a_table_that_is_open_stays_as_it_was(stored: SimpleNamespace) -> None:
    """A writer deletes the pages that its manifest does not list any more."""
    found = open_items(stored.path, stored.listed, 3)
    for file in stored.path.glob(PATTERN):
        file.unlink()
    assert_same(found, table(stored.images))


def test_further_columns_of_another_kind_write_the_whole_table(stored: SimpleNamespace) -> None:
    items = table(stored.images)
    for changed in (replace(items, metadata={}), replace(items, metadata={**items.metadata, "camera": items.labels})):
        listed = write_items(stored.path, stored.listed, changed)
        assert len(listed["pages"]) == 1
        found = open_items(stored.path, listed, 3)
        assert {name: column.dtype.kind for name, column in found.metadata.items()} == {
            name: column.dtype.kind for name, column in changed.metadata.items()
        }


@given(st.integers(0, 10**7), st.lists(st.integers(1, 10**6), max_size=60))
def test_however_runs_arrive_they_stay_few(base: int, sizes: list[int]) -> None:
    runs = [base]
    for size in sizes:
        keep = remaining_runs(runs, size)
        merged = sum(runs[keep:]) + size
        runs = [*runs[:keep], merged]
        assert len(runs) <= 1 + item_runs.FAN * 9
    assert sum(runs[1:]) * item_runs.SHARE <= max(runs[0], 1)


# ---- what a stranger writes


def put(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    inner = value
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = new
    return value


@pytest.mark.parametrize(
    ("way", "new"),
    [
        (("columns", "labels", "rows"), 1999), (("columns", "labels", "dtype"), "<f4"), (("file",), "../items-x.page"),
        (("columns", "labels", "dtype"), "|O"), (("columns", "labels", "dtype"), "i4,i4"), (("bytes",), 900),
        (("columns", "digests", "offset"), 1 << 40), (("columns", "digests", "offset"), -1), (("bytes",), True),
        (("columns", "splits", "checksum"), None), (("columns", "digests", "dtype"), "<U8"), (("columns",), {}),
        (("columns", "id_text", "dtype"), "|S0"), (("file",), "shards-x.page"), (("file",), "items-x.npz"),
    ],
)  # fmt: skip
def test_descriptions_that_no_writer_writes(stored: SimpleNamespace, way: tuple[str, ...], new: object) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        run_entries({**stored.listed, "pages": [put(stored.listed["pages"][0], way, new)]})


def test_a_wrong_number_of_images_is_no_table(stored: SimpleNamespace) -> None:
    listed = written(stored, {**stored.images, "new.png": (100_004, 0, 0, 0.5)})
    with pytest.raises(BankDamagedError):
        _ = open_items(stored.path, {**listed, "count": 2000}, 3).labels
    with pytest.raises(ValueError, match="do not hold the images"):
        run_entries({**stored.listed, "count": 5})
    with pytest.raises(ValueError, match="do not hold the images"):
        run_entries({**listed, "count": 10**12})


@pytest.mark.parametrize(
    ("column", "values", "read"),
    [
        ("labels", np.full(2000, 3, np.int32), "labels"), ("labels", np.full(2000, -1, np.int32), "labels"),
        ("splits", np.full(2000, 4, np.uint8), "splits"),
        ("splits", np.full(2000, 3, np.uint8), "labels"), ("id_ends", np.arange(2000)[::-1].copy(), "ids"),
        ("id_text", np.frombuffer(b"\xff", np.uint8), "ids"), ("metadata_names", np.zeros(3, np.uint8), "metadata"),
        ("metadata_names", np.frombuffer(b'[["x"]]', np.uint8), "metadata"),
        ("metadata_0", np.full(2000, 0x7FFFFFFF, np.uint32).view("<U1"), "metadata"),
    ],
)  # fmt: skip
def test_values_of_a_stranger_are_found_when_they_are_used(
    stored: SimpleNamespace, column: str, values: np.ndarray, read: str
) -> None:
    from featurebank.bank.pages.page import Page, write_page

    page = Page(stored.path, run_entries(stored.listed)[0], "")
    columns = {name: page.column(name) for name in page.entry.columns} | {column: values}
    listed = {**stored.listed, "pages": [write_page(stored.path, "items", columns).to_dict()]}
    with pytest.raises(BankDamagedError):
        getattr(open_items(stored.path, listed, 3), read)


def test_runs_in_no_order_never_give_a_wrong_table(stored: SimpleNamespace) -> None:
    """A stranger's runs may hold anything: each image once or an error, and no memory beyond the runs."""
    listed = written(stored, {**stored.images, "new.png": (100_004, 0, 0, 0.5)})
    from featurebank.bank.pages.page import Page, write_page

    page = Page(stored.path, run_entries(listed)[0], "")
    columns = {name: page.column(name) for name in page.entry.columns}
    backwards = write_page(stored.path, "items", columns | {"digests": columns["digests"][::-1]})
    found = open_items(stored.path, {**listed, "pages": [backwards.to_dict(), listed["pages"][1]]}, 3)
    assert sorted(found.digests.tolist()) == sorted([*columns["digests"].tolist(), f"{100_004:032x}".encode()])
