"""Where a cache lies: a directory, or the mirror of a bucket."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from buckets import Machine

from featurebank import list_banks, set_local_cache
from featurebank.bank.catalog import find_bank_path
from featurebank.errors import ConfigError, StorageError
from featurebank.extraction.pieces.plan import PieceBank
from featurebank.storage.caches import (
    MIRROR_VARIABLE,
    cache_directory,
    local_path,
    mirror_of,
    mirrors_directory,
    portable_path,
    shown_path,
)
from featurebank.system.files import read_regular, write_bytes


def test_the_default_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, bucket: str, machine: Machine) -> None:
    monkeypatch.setenv("FEATUREBANK_CACHE", "/x/y")
    assert cache_directory() == Path("/x/y")
    monkeypatch.setenv("FEATUREBANK_CACHE", f"{bucket}/here")
    assert mirror_of(cache_directory()) is not None
    assert list_banks() == []
    for empty in (lambda: monkeypatch.setenv("FEATUREBANK_CACHE", ""), lambda: monkeypatch.delenv("FEATUREBANK_CACHE")):
        empty()
        assert cache_directory() == cache_directory("") == Path("cache")


def test_each_cache_has_its_own_mirror(bucket: str, machine: Machine) -> None:
    one, two = cache_directory(f"{bucket}/one"), cache_directory(f"{bucket}/two/")
    assert one != two
    assert cache_directory(f"{bucket}//one/") == one
    assert one.parent == machine.place
    assert one.name.startswith("features-one-")
    assert mirror_of(Path("cache")) is None


def test_a_path_is_found_on_another_machine(bucket: str, machine: Machine, tmp_path: Path) -> None:
    root = cache_directory(f"{bucket}/one")
    bank = PieceBank(root / "bank", "a key", {"pooled": None})
    texts, sent = [portable_path(path) for path in (root, root / "bank" / "x", Path("plain"))], pickle.dumps(bank)
    assert texts == [f"{bucket}/one", f"{bucket}/one//bank/x", "plain"]
    shown = [shown_path(path) for path in (root, root / "bank", Path("plain"))]
    assert shown == [f"{bucket}/one", f"{bucket}/one/bank", "plain"]
    write_bytes(root / "bank" / "manifest.json", b"1")
    assert find_bank_path(Path("cache"), shown[1]) == root / "bank"
    with Machine(tmp_path / "other").used():
        there = local_path(texts[0])
        assert there != root
        assert [local_path(text) for text in texts] == [there, there / "bank" / "x", Path("plain")]
        assert pickle.loads(sent) == PieceBank(there / "bank", "a key", {"pooled": None})
    assert pickle.loads(sent) == bank


def test_a_mirror_without_its_bucket_is_not_written(bucket: str, machine: Machine, tmp_path: Path) -> None:
    root = cache_directory(f"{bucket}/one")
    write_bytes(root / "bank" / "runs" / "a.json", b"1")
    with Machine(tmp_path / "other").used():  # as a process that takes the mirror for a cache
        assert read_regular(root / "bank" / "runs" / "a.json") == b"1"
        for path in (root / "a", root / "bank" / "runs" / ".claimed" / "a"):
            with pytest.raises(StorageError, match="is only the mirror of a cache in a bucket: name the bucket"):
                write_bytes(path, b"2")


def test_the_mirror_of_another_cache_is_refused(bucket: str, machine: Machine, tmp_path: Path) -> None:
    one, two = cache_directory(f"{bucket}/one"), cache_directory(f"{bucket}/two")
    for root in (one, two):
        mirror = mirror_of(root)
        assert mirror is not None
        mirror.state.close()
    moved = tmp_path / "moved"
    moved.mkdir()
    one.rename(moved / two.name)
    with Machine(moved).used(), pytest.raises(ConfigError, match=f"is the mirror of '{bucket}/one': delete it"):
        cache_directory(f"{bucket}/two")


def test_mirrors_lie_in_the_users_folder_of_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/caches")
    assert mirrors_directory() == Path("/home/me/caches/featurebank/mirrors")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert mirrors_directory().is_relative_to(Path.home())


def test_the_limit_holds_for_open_and_later_mirrors(bucket: str, machine: Machine) -> None:
    try:
        mirror = mirror_of(cache_directory(f"{bucket}/one"))
        assert mirror is not None
        default = mirror.limit
        assert default is not None, "half of the free space"
        set_local_cache("5MB")
        assert mirror.limit == 5_000_000
        later = mirror_of(cache_directory(f"{bucket}/two"))
        assert later is not None
        assert later.limit == 5_000_000
    finally:
        set_local_cache(None)
    assert mirror.limit > 5_000_000


@pytest.mark.parametrize("size", ["0", "-1", "much", "10", 0])
def test_a_limit_that_is_none_is_refused(size: str | int) -> None:
    with pytest.raises(ConfigError, match=f"limit is '?{size}'?: expected"):
        set_local_cache(size)
