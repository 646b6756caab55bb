"""The mirror of a cache: written through, read through, never trusted further than its records."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buckets import Machine

from featurebank.errors import DiskFullError, StorageError
from featurebank.storage import known_objects
from featurebank.storage.caches import cache_directory, mirror_of
from featurebank.storage.mirror import Mirror
from featurebank.storage.objects import Objects, StoredObject
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
from featurebank.system.backing.protocol import ChangedElsewhereError
from featurebank.system.files import map_array, read_regular, write_bytes


@pytest.fixture
def always_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No list answers twice: what another machine has just done is seen at once."""
    monkeypatch.setattr(known_objects, "LISTED_S", 0.0)


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    """A second machine."""
    return Machine(tmp_path / "other")


def opened(bucket: str) -> tuple[Path, Mirror]:
    """Opens the cache of a bucket on the machine that the process is now."""
    root = cache_directory(f"{bucket}/cache")
    mirror = mirror_of(root)
    assert mirror is not None
    return root, mirror


def requests_of(mirror: Mirror, work: Callable[[], object]) -> int:
    """Returns how many requests some work sends."""
    before = mirror.objects.requests
    work()
    return mirror.objects.requests - before


@pytest.mark.usefixtures("always_listed")
def test_what_one_machine_writes_another_reads(bucket: str, machine: Machine, other: Machine) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "bank" / "manifest.json", b"first")
    write_bytes(root / "bank" / "runs" / "a.json", b"run")
    write_bytes(root / "bank" / "shard-1.h5", b"rows")
    with other.used():
        there, _ = opened(bucket)
        assert there != root
        assert find(there, "*/manifest.json") == [there / "bank" / "manifest.json"]
        assert (there / "bank" / "manifest.json").read_bytes() == b"first", "small files are fetched with the list"
        assert find(there / "bank" / "runs", "*.json") == [there / "bank" / "runs" / "a.json"]
        assert find(there / "bank", "shard-*.h5") == [there / "bank" / "shard-1.h5"]
        assert not (there / "bank" / "shard-1.h5").exists(), "shards are fetched when they are needed"
        assert is_file(there / "bank" / "shard-1.h5")
        assert size_of(there / "bank" / "shard-1.h5") == 4
        assert abs(modified(there / "bank") - modified(there / "bank" / "shard-1.h5")) < 60
        assert folders(there) == [there / "bank"]
        assert map_array(there / "bank" / "shard-1.h5", "uint8", 0, (4,)).tobytes() == b"rows"
        write_bytes(there / "bank" / "manifest.json", b"second")
        remove(there / "bank" / "runs" / "a.json")
    assert read_regular(root / "bank" / "manifest.json") == b"second"
    assert find(root / "bank" / "runs", "*.json") == []
    assert not (root / "bank" / "runs" / "a.json").exists()
    assert requests_of(mirror, lambda: find(root / "bank", "*")) == 1, "what has gone is not asked for again"
    with pytest.raises(FileNotFoundError):
        read_regular(root / "bank" / "runs" / "a.json")
    remove_content(root / "bank", {"shard-1.h5"})
    assert entries(root / "bank") == {root / "bank" / "shard-1.h5"}
    with other.used():
        assert not is_file(there / "bank" / "manifest.json")
        with pytest.raises(FileNotFoundError):
            modified(there / "bank" / "runs")


def test_a_second_copy_is_made_in_the_bucket(bucket: str, machine: Machine, other: Machine) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "one" / "shard-1.h5", b"rows")
    sent = []
    put = mirror.objects.put
    mirror.objects.put = lambda *a: sent.append(a) or put(*a)  # type: ignore[method-assign]
    link_or_copy(root / "one" / "shard-1.h5", root / "two" / "shard-1.h5")
    assert sent == []
    assert (root / "one" / "shard-1.h5").samefile(root / "two" / "shard-1.h5")
    with other.used():
        assert read_regular(opened(bucket)[0] / "two" / "shard-1.h5") == b"rows"
    with pytest.raises(FileNotFoundError):
        link_or_copy(root / "one" / "shard-2.h5", root / "two" / "shard-2.h5")


def test_what_has_not_changed_costs_no_requests(bucket: str, machine: Machine) -> None:
    root, mirror = opened(bucket)
    for number in range(20):
        write_bytes(root / "bank" / "runs" / f"{number}.json", b"run")
    write_bytes(root / "bank" / "manifest.json", b"manifest")
    write_bytes(root / "bank" / "items-0123456789abcdef.npz", b"items")
    mirror.refresh(root)

    def read_all() -> None:
        for path in find(root / "bank" / "runs", "*.json"):
            read_regular(path)
        read_regular(root / "bank" / "manifest.json")
        read_regular(root / "bank" / "items-0123456789abcdef.npz")
        assert not is_file(root / "bank" / "runs" / "missing.json")

    assert requests_of(mirror, read_all) == 0
    mirror._known._listed.clear()  # time passes
    assert requests_of(mirror, lambda: read_regular(root / "bank" / "items-0123456789abcdef.npz")) == 0
    assert requests_of(mirror, lambda: read_regular(root / "bank" / "runs" / "1.json")) == 0, "as it was listed"
    assert requests_of(mirror, lambda: read_regular(root / "bank" / "manifest.json")) == 1, "the newest version counts"


@pytest.mark.usefixtures("always_listed")
def test_a_list_that_lacks_the_newest_objects_takes_nothing_away(
    bucket: str, machine: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = opened(bucket)
    write_bytes(root / "bank" / "manifest.json", b"1")
    stale = Objects.list
    monkeypatch.setattr(
        Objects,
        "list",
        lambda self, prefix="": {
            **stale(self, prefix),
        },
    )
    hidden = {"bank/runs/new.json", "bank/shard-2.h5", "bank/manifest.json"}

    def lagging(self: Objects, prefix: str = "") -> dict[str, StoredObject]:
        return {key: value for key, value in stale(self, prefix).items() if key not in hidden}

    monkeypatch.setattr(Objects, "list", lagging)
    write_bytes(root / "bank" / "runs" / "new.json", b"run")
    write_bytes(root / "bank" / "shard-2.h5", b"rows")
    assert find(root / "bank" / "runs", "*.json") == [root / "bank" / "runs" / "new.json"], "our own writes are known"
    assert read_regular(root / "bank" / "shard-2.h5") == b"rows"
    with other.used():
        there, _ = opened(bucket)
        find(there, "*/manifest.json")
        assert read_regular(there / "bank" / "manifest.json") == b"1", "the manifest is asked for by name"
        assert read_regular(there / "bank" / "shard-2.h5") == b"rows", "and what it names"


def test_an_old_version_in_a_list_does_not_come_back(
    bucket: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "a.json", b"old")
    old = mirror.objects.list()
    write_bytes(root / "a.json", b"new")
    monkeypatch.setattr(Objects, "list", lambda self, prefix="": dict(old))
    mirror.refresh(root)
    assert find(root, "*.json") == [root / "a.json"]
    assert read_regular(root / "a.json") == b"new"


def break_file(root: Path) -> None:
    """Changes a file in place, as a failing disk does; its time stays."""
    facts = (root / "a.json").stat()
    with (root / "a.json").open("r+b") as file:
        file.write(b"X")
    os.utime(root / "a.json", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def break_state(root: Path) -> None:
    (root / ".mirror" / "state.sqlite").write_bytes(b"no database" * 1000)


def delete_files(root: Path) -> None:
    (root / "a.json").unlink()


def delete_all(root: Path) -> None:
    shutil.rmtree(root)


def replace_file(root: Path) -> None:
    (root / "a.json").unlink()
    (root / "a.json").write_bytes(b"CONTENT")


@pytest.mark.parametrize("harm", [break_file, break_state, delete_files, delete_all, replace_file])
def test_a_mirror_that_was_harmed_is_filled_again(
    bucket: str, machine: Machine, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "a.json", b"content")
    mirror.state.close()
    harm(root)
    with Machine(machine.place).used():  # the next process of this machine
        again, _ = opened(bucket)
        assert again == root
        assert read_regular(root / "a.json") == b"content"
        write_bytes(root / "b.json", b"more")


@pytest.mark.parametrize("harm", [break_state, delete_files, delete_all, replace_file])
def test_a_mirror_may_be_harmed_while_it_is_used(bucket: str, machine: Machine, harm: Callable[[Path], None]) -> None:
    root, _ = opened(bucket)
    write_bytes(root / "a.json", b"content")
    write_bytes(root / "bank" / "shard-1.h5", np.arange(4, dtype="u1").tobytes())
    rows = map_array(root / "bank" / "shard-1.h5", "uint8", 0, (4,))
    harm(root)
    assert read_regular(root / "a.json") == b"content"
    assert rows.tolist() == [0, 1, 2, 3]
    assert map_array(root / "bank" / "shard-1.h5", "uint8", 0, (4,)).tolist() == [0, 1, 2, 3]
    write_bytes(root / "b.json", b"more")
    assert read_regular(root / "b.json") == b"more"


def test_a_process_killed_between_record_and_rename_leaves_no_wrong_state(bucket: str, machine: Machine) -> None:
    root, _ = opened(bucket)
    write_bytes(root / "a.json", b"old")
    replace = Path.replace

    class Killed(BaseException):
        pass

    def die(self: Path, target: Any) -> Path:
        if self.parent == root:
            raise Killed
        return replace(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(Killed):
            write_bytes(root / "a.json", b"new")
    assert (root / "a.json").read_bytes() == b"old"
    with Machine(machine.place).used():
        assert read_regular(opened(bucket)[0] / "a.json") == b"new", "the bucket has it"


def test_large_files_are_evicted_by_last_use(bucket: str, machine: Machine) -> None:
    root, mirror = opened(bucket)
    now = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurebank.storage.mirror_state.time.time", lambda: 1e9 + next(now))
        patch.setattr("featurebank.storage.mirror_state._NOTED_EVERY_S", 0.0)
        mirror.limit = 30
        for number in range(3):
            write_bytes(root / "bank" / f"shard-{number:020x}.h5", bytes([number]) * 10)
        write_bytes(root / "bank" / "manifest.json", b"x" * 1000)
        shards = find(root / "bank", "shard-*.h5")
        assert [path.exists() for path in shards] == [True, True, True]
        read_regular(shards[0])
        write_bytes(root / "bank" / f"shard-{3:020x}.h5", b"3" * 10)
        assert [path.exists() for path in shards] == [True, False, True], "the least recently used one"
        mapped = map_array(shards[2], "uint8", 0, (10,))
        read_regular(shards[0])
        write_bytes(root / "bank" / f"shard-{4:020x}.h5", b"4" * 20)
        assert shards[2].exists(), "it is mapped"
        assert mirror.used_bytes() <= 30
        del mapped
        assert read_regular(shards[1]) == b"\1" * 10, "it comes back"
        assert mirror.used_bytes() <= 30
    assert (root / "bank" / "manifest.json").exists()
    assert len(mirror.objects.list("bank/shard-")) == 5


@pytest.mark.parametrize("use", [read_regular, lambda path: map_array(path, "u1", 0, (4,))])
def test_a_file_that_other_processes_evict_at_once_is_fetched_again(
    bucket: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], Any]
) -> None:
    root, mirror = opened(bucket)
    shard = root / "bank" / "shard-1.h5"
    write_bytes(shard, b"rows")
    fetch, left = mirror.fetch, [3]

    def evicted(path: Path) -> bool:
        is_stored = fetch(path)
        if left[0]:
            left[0] -= 1
            path.unlink()
        return is_stored

    monkeypatch.setattr(mirror, "fetch", evicted)
    assert bytes(use(shard)) == b"rows"


def test_a_pinned_file_is_replaced_only_as_it_was(bucket: str, machine: Machine, other: Machine) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "manifest.json", b"1")
    mirror.pin(root / "manifest.json")
    write_bytes(root / "manifest.json", b"2")
    write_bytes(root / "manifest.json", b"3")
    with other.used():
        write_bytes(opened(bucket)[0] / "manifest.json", b"theirs")
    with pytest.raises(ChangedElsewhereError):
        write_bytes(root / "manifest.json", b"4")
    assert read_regular(root / "manifest.json") == b"theirs"
    mirror.unpin(root / "manifest.json")
    write_bytes(root / "manifest.json", b"5")


def test_a_writer_whose_put_was_interrupted_goes_on(
    bucket: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during the PUT of a manifest: the bucket may have received it, and the last flush puts another one."""
    root, mirror = opened(bucket)
    write_bytes(root / "manifest.json", b"1")
    mirror.pin(root / "manifest.json")
    put = mirror.objects.put

    def interrupted(*arguments: Any) -> StoredObject | None:
        put(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mirror.objects, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_bytes(root / "manifest.json", b"2")
    write_bytes(root / "manifest.json", b"3")
    assert mirror.objects.read("manifest.json") == (b"3", mirror.objects.head("manifest.json"))


def test_a_file_can_be_fetched_anew(bucket: str, machine: Machine) -> None:
    root, _ = opened(bucket)
    write_bytes(root / "a.json", b"content")
    break_file(root)
    assert forget_copy(root / "a.json")
    assert not forget_copy(root / "a.json")
    assert read_regular(root / "a.json") == b"content"


@pytest.fixture
def without_conditions(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket that ignores conditions."""
    ask = Objects._ask

    def ignoring(self: Objects, method: str, key: str | None = None, **about: Any) -> Any:
        for name in ("IfMatch", "IfNoneMatch") if method == "put_object" else ():
            about.pop(name, None)
        return ask(self, method, key, **about)

    monkeypatch.setattr(Objects, "_ask", ignoring)
    return bucket


def test_a_bucket_without_conditional_writes_is_refused(without_conditions: str, machine: Machine) -> None:
    root, mirror = opened(without_conditions)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"has no conditional writes \(If-None-Match is ignored\), so two"):
            write_bytes(root / "a.json", b"content")
    assert mirror.objects.list() == {}


@pytest.mark.parametrize(
    "key",
    [
        "../victim.json",
        "bank/../../../victim.json",
        "/victim.json",
        ".mirror/state.json",
        "bank\\..\\victim.json",
        "a//b.json",
        "é" * 240,
        "good.json/b.json",
    ],
)
def test_names_in_a_strangers_bucket_lead_nowhere(bucket: str, machine: Machine, key: str) -> None:
    root, mirror = opened(bucket)
    mirror.objects._ask("put_object", f"{key}", Body=b"attack")
    mirror.objects._ask("put_object", "good.json", Body=b"data")
    before = {path for path in root.parent.parent.rglob("*") if path.is_file()}
    assert list(mirror.sizes(root)) == [root / ("good.json" if key != "good.json/b.json" else key)]
    for pattern in ("*", "*/*", "*/*/*", "*/*/*/*"):
        find(root, pattern)
    after = {path for path in root.parent.parent.rglob("*") if path.is_file()}
    fetched = {path for path in after - before if root / ".mirror" not in path.parents}
    assert fetched == {root / ("good.json" if key != "good.json/b.json" else key)}


STATES = {
    "a key that leads out": "INSERT INTO files VALUES ('../../victim.txt', 'e', 9, 1, 1, 'd', 0, 1)",
    "an absolute key": "INSERT INTO files VALUES ('{victim}', 'e', 9, 1, 1, 'd', 0, 1)",
    "a key of bytes": "INSERT INTO files VALUES (x'00ff', 'e', 9, 1, 1, 'd', 0, 1)",
    "a size that is a text": "INSERT INTO files VALUES ('x.head', 'e', 'x', 1, 1, 'd', 0, 1)",
    "an ETag of two lines": "UPDATE files SET etag = 'a' || char(10) || 'X: y'",
    "an ETag of bytes": "UPDATE files SET etag = x'0a0d'",
    "an owner of bytes": "UPDATE facts SET value = x'00ff'",
    "a view": "ALTER TABLE files RENAME TO others; CREATE VIEW files AS SELECT * FROM others",
    "a view without an end": (
        "DROP TABLE files; CREATE VIEW files AS WITH RECURSIVE r(key) AS (SELECT 'a' UNION ALL SELECT key FROM r) "
        "SELECT key, 'e' AS etag, 1 AS size, 1 AS inode, 1 AS moment, 'd' AS digest, 0 AS used, 1 AS evictable FROM r"
    ),
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'no'); END",
    "other columns": "DROP TABLE files; CREATE TABLE files (a, b)",
}


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_a_stranger_leads_nowhere(bucket: str, machine: Machine, name: str) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "shard-1.h5", b"rows")
    mirror.state.close()
    victim = root.parent.parent / "victim.txt"
    victim.write_bytes(b"precious!")
    with contextlib.closing(sqlite3.connect(root / ".mirror" / "state.sqlite")) as state:
        state.executescript(STATES[name].format(victim=victim))
    with Machine(machine.place).used():
        again, mirror = opened(bucket)
        mirror.limit = 0
        mirror.evict()
        assert [path for path, _ in below(again)] == [again / "shard-1.h5"]
        assert read_regular(again / "shard-1.h5") == b"rows"
        write_bytes(again / "b.json", b"more")
    assert victim.read_bytes() == b"precious!"


@pytest.mark.parametrize(
    "put", [lambda place, victim: place.symlink_to(victim), lambda place, victim: os.mkfifo(place)]
)
def test_a_state_that_is_no_file_is_replaced(
    bucket: str, machine: Machine, put: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    root, mirror = opened(bucket)
    mirror.state.close()
    (tmp_path / "victim").touch()
    for path in (root / ".mirror").glob("state.sqlite*"):
        path.unlink()
    put(root / ".mirror" / "state.sqlite", tmp_path / "victim")
    with Machine(machine.place).used():
        write_bytes(opened(bucket)[0] / "a.json", b"content")
    assert (tmp_path / "victim").stat().st_size == 0


def test_a_full_disk_can_be_read_and_emptied(bucket: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "a.json", b"content")
    ask = mirror.state._ask

    def refuse(question: str, *values: Any) -> Any:
        if not question.startswith("SELECT"):
            raise DiskFullError
        return ask(question, *values)

    monkeypatch.setattr(mirror.state, "_ask", refuse)
    mirror.state._noted.clear()
    with pytest.raises(DiskFullError):
        write_bytes(root / "b.json", b"more")
    assert read_regular(root / "a.json") == b"content"
    remove(root / "a.json")
    assert not (root / "a.json").exists()
    assert not mirror.exists(root / "a.json")


def test_a_database_on_a_full_disk_is_one_line(bucket: str, machine: Machine) -> None:
    _, mirror = opened(bucket)
    mirror.state.set_fact("small", "text")
    assert mirror.state._connection is not None
    (pages,) = mirror.state._connection.execute("PRAGMA page_count").fetchone()
    limit = f"PRAGMA max_page_count = {pages}"  # SQLite's own limit acts as a full disk does
    connected = mirror.state._connected

    def limited() -> sqlite3.Connection:
        connection = connected()
        connection.execute(limit)
        return connection

    mirror.state._connected = limited  # type: ignore[method-assign]
    mirror.state.close()
    with pytest.raises(DiskFullError, match=r"no space is left for '.*state.sqlite' \(database or disk is full\)"):
        mirror.state.set_fact("large", "x" * 1000000)
    assert mirror.state.fact("small") == "text"


def test_a_state_that_cannot_be_opened_is_one_line(bucket: str, machine: Machine) -> None:
    root, mirror = opened(bucket)
    mirror.state.close()
    (root / ".mirror" / "state.sqlite").unlink()
    (root / ".mirror" / "state.sqlite").mkdir()
    with Machine(machine.place).used(), pytest.raises(StorageError, match=r"records of the mirror '.*' cannot be used"):
        opened(bucket)


def test_conditional_writes_are_tried_once_a_mirror(bucket: str, machine: Machine) -> None:
    root, mirror = opened(bucket)
    first = requests_of(mirror, lambda: write_bytes(root / "a.json", b"1"))
    assert requests_of(mirror, lambda: write_bytes(root / "a.json", b"2")) == 1
    with Machine(machine.place).used():
        again, mirror = opened(bucket)
        assert requests_of(mirror, lambda: write_bytes(again / "a.json", b"3")) == 1 < first


def test_a_copy_of_a_mirror_is_another_mirror(bucket: str, machine: Machine, tmp_path: Path) -> None:
    root, mirror = opened(bucket)
    mirror.state.close()
    shutil.copytree(machine.place, tmp_path / "copy")
    with Machine(machine.place).used():
        assert opened(bucket)[1].identity == mirror.identity
    with Machine(tmp_path / "copy").used():
        copied = opened(bucket)[1]
        assert copied.root.name == root.name
        assert copied.identity != mirror.identity


def test_the_state_is_a_database_that_processes_share(bucket: str, machine: Machine) -> None:
    root, mirror = opened(bucket)
    write_bytes(root / "a.json", b"1")
    with sqlite3.connect(root / ".mirror" / "state.sqlite") as state:
        assert state.execute("SELECT key, size FROM files").fetchall() == [("a.json", 1)]
    assert mirror.state.keys("a") == ["a.json"]
