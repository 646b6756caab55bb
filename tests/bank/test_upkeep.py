"""Banks are found by what people type."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurebank.bank.lock import WriterLock
from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.bank.upkeep import bank_path, find_bank, list_banks, recipe_differences, remove_bank
from featurebank.errors import BankLockedError, BankNotFoundError, ConfigError, UnknownNameError
from featurebank.files import write_bytes


def used(path: Path, when: float) -> Path:
    os.utime(path / MANIFEST, (when, when))
    return path


@pytest.fixture
def two(make: Callable[..., Path]) -> tuple[Path, Path]:
    return used(make("digits--net--aa"), 2000), used(make("digits--net--ab"), 1000)


def test_by_name_prefix_path_and_age(tmp_path: Path, two: tuple[Path, Path]) -> None:
    newer, older = two
    assert find_bank(tmp_path).path == newer
    assert find_bank(tmp_path, "digits--net--ab").path == older
    assert find_bank(tmp_path, str(older)).path == older
    used(older, 3000)
    assert find_bank(tmp_path).path == older
    with pytest.raises(ConfigError, match="beginning of 2 banks"):
        find_bank(tmp_path, "digits")
    remove_bank(newer)
    assert find_bank(tmp_path, "digits").path == older


def test_whole_name_goes_before_prefix(tmp_path: Path, make: Callable[..., Path]) -> None:
    short = make("a--b")
    make("a--b--c")
    assert find_bank(tmp_path, "a--b").path == short


def test_nothing_found(tmp_path: Path, make: Callable[..., Path]) -> None:
    with pytest.raises(BankNotFoundError, match="no bank in the cache"):
        find_bank(tmp_path / "none")
    make("digits--net--aa")
    with pytest.raises(UnknownNameError, match="did you mean 'digits--net--aa'"):
        find_bank(tmp_path, "dgits--net--aa")


def test_list_tells_what_is_wrong(tmp_path: Path, make: Callable[..., Path], rows: SimpleNamespace) -> None:
    used(make("good--net--1", count=5), 3000)
    broken = make("broken--net--2")
    (broken / MANIFEST).write_text("{")
    used(broken, 2000)
    with rows.writer(tmp_path / "half--net--3") as to:
        rows.append(to, range(3), "pooled")
    used(tmp_path / "half--net--3", 1000)
    good, bad, half = list_banks(tmp_path)
    assert (good.images, good.problem, good.taps, good.dataset, good.backbone) == (5, None, ("pooled",), "data", "net")
    assert good.bytes == sum(file.stat().st_size for file in good.path.iterdir())
    assert "damaged" in str(bad.problem)
    assert (half.images, half.problem) == (None, None)


def test_list_while_a_writer_renames_its_files(tmp_path: Path, make: Callable[..., Path]) -> None:
    path = make("a--b--c")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            write_bytes(path / "file", b"x")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(200):
            assert len(list_banks(tmp_path)) == 1
    finally:
        stop.set()
        thread.join()


def test_recipe_differences(tmp_path: Path, rows: SimpleNamespace, make: Callable[..., Path]) -> None:
    with rows.writer(tmp_path / "other", {**rows.recipe, "image_size": 64, "views": 2}) as to:
        rows.append(to, range(2), "pooled")
    one, other = load_manifest(make()), load_manifest(tmp_path / "other")
    assert recipe_differences(one, other) == {"image_size": (32, 64), "views": (None, 2)}
    assert recipe_differences(one, one) == {}


def test_remove(tmp_path: Path, make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make()
    (path / "runs").mkdir()
    with rows.writer(path), pytest.raises(BankLockedError):
        remove_bank(path)
    assert find_bank(tmp_path).path == path
    remove_bank(path)
    assert not path.exists()
    with pytest.raises(BankNotFoundError):
        remove_bank(path)


def test_who_waits_for_a_bank_that_is_removed_begins_anew(
    make: Callable[..., Path], rows: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next writer takes the lock as soon as the removal lets it go."""
    path = make(count=12, shards=3)
    leave = WriterLock.__exit__

    def then_next(self: WriterLock, *arguments: Any) -> None:
        leave(self, *arguments)
        monkeypatch.undo()
        make(count=5, shards=1)

    monkeypatch.setattr(WriterLock, "__exit__", then_next)
    remove_bank(path)
    assert find_bank(path.parent).features().tolist() == rows.features(range(5)).tolist()


def test_bank_path_depends_on_all_parts(tmp_path: Path) -> None:
    paths = {
        bank_path(tmp_path, *parts) for parts in [("a", "b", "1" * 32), ("a", "b", "2" * 32), ("c", "b", "1" * 32)]
    }
    assert len(paths) == 3
