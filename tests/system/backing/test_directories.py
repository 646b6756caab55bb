"""Files of a cache are the same to the code above, whether they lie on the disk alone or in a storage behind it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.system.backing import protocol
from featurebank.system.backing.directories import (
    below,
    entries,
    find,
    folders,
    forget_copy,
    is_file,
    link_or_copy,
    modified,
    remove,
    remove_content,
    size_of,
)
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX
from featurebank.system.files import map_array, read_regular, write_bytes


class Shelf:
    """A storage in a second directory: the smallest thing that fulfils the protocol."""

    identity = "shelf"

    def __init__(self, root: Path, shelf: Path) -> None:
        self.root, self.shelf, self.fetched = root, shelf, list[str]()

    def _there(self, path: Path) -> Path:
        return self.shelf / path.relative_to(self.root)

    def fetch(self, path: Path) -> bool:
        self.fetched.append(path.name)
        if not self._there(path).is_file():
            path.unlink(missing_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._there(path), path)
        return path.is_file()

    def fetch_small(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self.fetch(path)

    def publish(self, temporary: Path, path: Path) -> None:
        self._there(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(temporary, self._there(path))

    def copy(self, source: Path, path: Path) -> None:
        self.publish(self._there(source), path)

    def exists(self, path: Path) -> bool:
        return self._there(path).is_file()

    def sizes(self, directory: Path) -> Mapping[Path, int]:
        files = (path for path in self._there(directory).rglob("*") if path.is_file())
        return {self.root / path.relative_to(self.shelf): path.stat().st_size for path in files}

    def modified(self, path: Path) -> float:
        return self._there(path).stat().st_mtime

    def remove(self, path: Path) -> None:
        self._there(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def remove_below(self, directory: Path, keep: Collection[str]) -> None:
        for path in self._there(directory).iterdir():
            if path.name not in keep:
                path.unlink()

    def forget_copy(self, path: Path) -> bool:
        path.unlink(missing_ok=True)
        return True

    def note_map(self, path: Path, array: Any) -> None:
        self.fetched.append(f"map of {path.name}")


@pytest.fixture(params=["disk", "storage"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory, on the disk alone or with a storage behind it."""
    monkeypatch.setattr(protocol, "_backings", {})
    root = tmp_path / "cache"
    root.mkdir()
    if request.param == "storage":
        protocol.register_backing(root, Shelf(root, tmp_path / "shelf"))  # type: ignore[arg-type] - without versions
    return root


def test_files_are_written_read_listed_and_removed(cache: Path) -> None:
    write_bytes(cache / "bank" / "runs" / "a.json", b"12")
    write_bytes(cache / "bank" / "manifest.json", b"123")
    assert read_regular(cache / "bank" / "manifest.json") == b"123"
    assert find(cache, "*/manifest.json") == [cache / "bank" / "manifest.json"]
    assert find(cache / "missing", "*") == []
    assert dict(below(cache)) == {cache / "bank" / "runs" / "a.json": 2, cache / "bank" / "manifest.json": 3}
    assert folders(cache) == [cache / "bank"]
    assert folders(cache / "missing") == []
    assert entries(cache / "bank") == {cache / "bank" / "runs", cache / "bank" / "manifest.json"}
    assert size_of(cache / "bank" / "manifest.json") == 3
    assert size_of(cache / "missing") == 0
    assert abs(modified(cache / "bank" / "manifest.json") - time.time()) < 60
    remove(cache / "bank" / "manifest.json")
    remove(cache / "bank" / "manifest.json")
    assert not is_file(cache / "bank" / "manifest.json")
    write_bytes(cache / "other", b"1")
    write_bytes(cache / "stays", b"1")
    remove_content(cache, {"stays", "bank"})
    assert entries(cache) == {cache / "bank", cache / "stays"}


def test_files_of_dead_writers_have_to_be_asked_for(cache: Path) -> None:
    write_bytes(cache / "runs" / "a.json", b"12")
    write_bytes(cache / "runs" / f"{TEMPORARY_PREFIX}1-b.json", b"1")
    assert find(cache / "runs", "*.json") == find(cache, "*/*.json") == [cache / "runs" / "a.json"]


def test_a_second_name_has_the_same_content(cache: Path) -> None:
    write_bytes(cache / "one" / "shard.h5", b"rows")
    (cache / "two").mkdir()
    link_or_copy(cache / "one" / "shard.h5", cache / "two" / "shard.h5")
    assert read_regular(cache / "two" / "shard.h5") == b"rows"
    with pytest.raises(FileNotFoundError):
        link_or_copy(cache / "one" / "missing.h5", cache / "two" / "missing.h5")


def test_an_array_maps_the_file(cache: Path) -> None:
    write_bytes(cache / "rows", np.arange(6, dtype="<f4").tobytes())
    assert map_array(cache / "rows", "float32", 8, (2, 2)).tolist() == [[2, 3], [4, 5]]
    with pytest.raises(FileNotFoundError):
        map_array(cache / "missing", "float32", 0, (1,))


def test_a_file_that_is_only_stored_is_fetched_when_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_backings", {})
    root = tmp_path / "cache"
    shelf = Shelf(root, tmp_path / "shelf")
    protocol.register_backing(root, shelf)  # type: ignore[arg-type] - without versions
    write_bytes(root / "rows", b"12345678")
    write_bytes(tmp_path / "cache beside" / "rows", b"1")
    assert shelf.fetched == []
    assert forget_copy(root / "rows")
    assert not forget_copy(tmp_path / "cache beside" / "rows"), "another directory, whose name begins alike"
    assert not (root / "rows").exists()
    assert is_file(root / "rows")
    assert map_array(root / "rows", "uint8", 0, (8,)).tobytes() == b"12345678"
    assert shelf.fetched == ["rows", "map of rows"]
    (root / f"{TEMPORARY_PREFIX}x").touch()
    assert find(root, f"{TEMPORARY_PREFIX}*") == [root / f"{TEMPORARY_PREFIX}x"], "what a dead writer of here has left"
