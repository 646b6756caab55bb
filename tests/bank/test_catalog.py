"""Banks are found by what people type."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurebank import find_bank, list_banks
from featurebank.bank.catalog import bank_directories, bank_path, locate_bank, recipe_differences, remove_bank
from featurebank.bank.locks.writer_lock import WriterLock
from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.errors import BankLockedError, BankNotFoundError, ConfigError, UnknownNameError
from featurebank.system.digest import of_recipe
from featurebank.system.files import write_bytes


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
    with pytest.raises(ConfigError, match="prefix of 2 banks"):
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
    for empty in ("", " "):
        with pytest.raises(ConfigError, match="the name of the bank is empty"):
            find_bank(tmp_path, empty)


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


RECIPE = {"backbone": "efficientnet_lite0", "weights": "w", "image_size": 224}


def test_names_can_be_told_apart(tmp_path: Path) -> None:
    """What differs stands at the beginning, the digest at the end."""
    key = of_recipe(RECIPE)[:12]
    assert bank_path(tmp_path, "flowers", RECIPE) == tmp_path / f"flowers-lite0-224px-{key}"
    resnet = {**RECIPE, "backbone": "resnet50", "image_size": 96}
    assert bank_path(tmp_path, "unlabelled-pooled", resnet).name.startswith("unlabelled-pooled-resnet50-96px-")
    names = {bank_path(tmp_path, d, r) for d in ("a", "b") for r in (RECIPE, resnet, {**RECIPE, "weights": "v"})}
    assert len(names) == 6
    for dataset, backbone in (("../x", "net"), ("a", "../net"), ("a/b", "net")):
        with pytest.raises(ConfigError, match="no bank can have this name"):
            bank_path(tmp_path, dataset, {**RECIPE, "backbone": backbone})


def test_a_bank_is_found_by_its_recipe(tmp_path: Path, rows: SimpleNamespace) -> None:
    """Under the name that featurebank 0.1 gave it, and under one that its user gave it."""
    fresh = bank_path(tmp_path, "data", rows.recipe)
    assert locate_bank(tmp_path, "data", rows.recipe) == fresh
    old = tmp_path / f"data--net--{of_recipe(rows.recipe)[:12]}"
    for path in (old, tmp_path / "my bank", tmp_path / "other name"):
        with rows.writer(path) as to:
            rows.append(to, range(3), "pooled")
        assert locate_bank(tmp_path, "data", rows.recipe) == path
        assert locate_bank(tmp_path, "other", rows.recipe) != path
        assert locate_bank(tmp_path, "data", {**rows.recipe, "weights": "v"}) != path
        shutil.move(path, tmp_path / "place" / path.name)
    for path in (tmp_path / "one", tmp_path / "two"):
        shutil.copytree(tmp_path / "place" / "my bank", path)
    assert locate_bank(tmp_path, "data", rows.recipe) == fresh, "of two nobody knows which"
    (old / MANIFEST).parent.mkdir()
    (old / MANIFEST).write_text("{")
    assert locate_bank(tmp_path, "data", rows.recipe) == old, "so that its damage is told"


def test_what_may_be_a_bank(tmp_path: Path, make: Callable[..., Path]) -> None:
    bank = make("my own name")
    remains = [tmp_path / "data--net--0123456789ab", tmp_path / "data-net-32px-0123456789ab"]
    for path in (*remains, tmp_path / "photos", tmp_path / ".engines"):
        path.mkdir()
    assert bank_directories(tmp_path) == sorted([bank, *remains])
    assert bank_directories(tmp_path / "none") == []
