"""Which bank was used last: what a command without --bank takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurebank import find_bank, list_banks
from featurebank.bank import Bank
from featurebank.bank.catalog import remove_bank
from featurebank.bank.last_use import DIRECTORY, last_use, note_use
from featurebank.bank.maintenance.verify import verify_beside

MakeBank = Callable[..., Bank]


@pytest.fixture
def two(make_bank: MakeBank) -> tuple[Path, Path]:
    """Two banks in one cache, extracted one after the other, some time ago."""
    paths = make_bank("cache/first").path, make_bank("cache/second").path
    for moment, path in enumerate(paths):
        os.utime(path / "manifest.json", (1e9 + moment, 1e9 + moment))
    return paths


def test_extraction_is_a_use(two: tuple[Path, Path]) -> None:
    first, second = two
    assert find_bank(first.parent).path == second
    assert (last_use(second).time, last_use(second).command) == (1e9 + 1, "extract")


def test_the_last_used_is_taken(two: tuple[Path, Path]) -> None:
    first, second = two
    cache = first.parent
    note_use(cache, first, "heads")
    assert find_bank(cache).path == first
    assert last_use(first).command == "heads"
    assert [bank.path for bank in list_banks(cache)] == [first, second]
    note_use(cache, second, "export")
    assert find_bank(cache).path == second
    os.utime(first / "manifest.json", (4e9, 4e9))
    assert (find_bank(cache).path, last_use(first).command) == (first, "extract")


def test_a_stamp_that_cannot_be_read_or_written(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two
    note_use(first.parent, first, "heads")
    (stamp,) = (first.parent / DIRECTORY).iterdir()
    assert not verify_beside(first.parent).damaged
    stamp.write_text("{}")
    assert find_bank(first.parent).path == second

    def refused(path: Path, value: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("featurebank.bank.last_use.write_sealed", refused)
    note_use(first.parent, first, "heads")
    assert find_bank(first.parent).path == second


def test_a_bank_elsewhere_leaves_no_stamp(two: tuple[Path, Path], tmp_path: Path) -> None:
    note_use(tmp_path / "another", two[0], "heads")
    assert not (two[0].parent / DIRECTORY).exists()


def test_a_bank_that_is_removed_leaves_no_stamp(two: tuple[Path, Path]) -> None:
    note_use(two[0].parent, two[0], "heads")
    remove_bank(two[0])
    assert list((two[0].parent / DIRECTORY).iterdir()) == []
    assert find_bank(two[0].parent).path == two[1]
