"""A file is read again if, and only if, it may have changed since it was read."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from featurebank import load_dataset
from featurebank.dataset import Dataset, fingerprint_cache
from featurebank.dataset.fingerprint import Stamp
from featurebank.dataset.fingerprint_cache import digest_changed, stamp_of
from featurebank.dataset.sources.folder import Files
from featurebank.errors import DiskFullError
from featurebank.system import digest

pytestmark = pytest.mark.heavy

SHORT = 0.03
"""Seconds that stand for the two seconds after which a file is settled: more than a kernel's clock needs to go on."""


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Waits until the files as they are now may be remembered."""
    monkeypatch.setattr(fingerprint_cache, "SETTLED_NS", int(SHORT * 1e9))
    return lambda: time.sleep(1.5 * SHORT)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the files that are read for their digest."""
    found: list[str] = []
    read = Files.digest

    def counting(self: Files, index: int) -> str:
        found.append(self._ids[index])
        return read(self, index)

    monkeypatch.setattr(Files, "digest", counting)
    return found


@pytest.fixture
def folder(tmp_path: Path, make: SimpleNamespace) -> Path:
    root: Path = make.folder(tmp_path / "photos", each=3)
    return root


def fingerprinted(root: Path, place: Path) -> Dataset:
    """A dataset whose digests were found with a memory, which have to be those of the bytes."""
    dataset = load_dataset(root)
    dataset.fingerprint(memory=place)
    assert dataset.digests.tolist() == [digest.of_file(root / name).encode() for name in dataset.ids]
    return dataset


def test_unchanged_files_are_not_read(
    folder: Path, tmp_path: Path, settled: Callable[[], None], reads: list[str]
) -> None:
    settled()
    first = fingerprinted(folder, tmp_path / "memory")
    assert sorted(reads) == sorted(first.ids)
    [file] = (tmp_path / "memory").iterdir()
    assert file.name == f"{first.name}.npz"
    written = file.stat().st_ino
    reads.clear()
    seen: list[int] = []
    again = load_dataset(folder)
    again.fingerprint(seen.append, tmp_path / "memory")
    assert reads == []
    assert sum(seen) == len(again) == 9
    np.testing.assert_array_equal(again.splits, first.splits)
    assert file.stat().st_ino == written, "written again although nothing had changed"


def test_only_what_changed_is_read(
    folder: Path, tmp_path: Path, settled: Callable[[], None], reads: list[str], make: SimpleNamespace
) -> None:
    settled()
    before = fingerprinted(folder, tmp_path / "memory")
    make.save(folder / "ant/new.png", 99)
    make.save(folder / "ant/0.png", 98)
    (folder / "bee/1.png").unlink()
    (folder / "cat/2.png").rename(folder / "bee/moved.png")
    os.utime(folder / "cat/1.png")
    settled()
    reads.clear()
    after = fingerprinted(folder, tmp_path / "memory")
    touched, others = {"ant/new.png", "ant/0.png", "bee/moved.png", "cat/1.png"}, {"ant/1.png", "cat/0.png"}
    assert set(reads) == touched
    assert others < set(after.ids)
    assert before.digests[before.ids.index("cat/1.png")] == after.digests[after.ids.index("cat/1.png")]
    reads.clear()
    fingerprinted(folder, tmp_path / "memory")
    assert reads == []


def test_a_restored_time_of_modification_hides_nothing(
    folder: Path, tmp_path: Path, settled: Callable[[], None], reads: list[str]
) -> None:
    settled()
    fingerprinted(folder, tmp_path / "memory")
    path = folder / "ant/0.png"
    before = path.stat()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    reads.clear()
    fingerprinted(folder, tmp_path / "memory")
    assert reads == ["ant/0.png"]


def test_a_file_that_was_just_written_is_not_remembered(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    fingerprinted(folder, tmp_path / "memory")
    reads.clear()
    fingerprinted(folder, tmp_path / "memory")
    assert len(reads) == 9


class Clocked:
    """Files on a disk whose clock ticks once in two seconds."""

    in_threads = True

    def __init__(self, *contents: bytes) -> None:
        self.contents = list(contents)
        self.changed = [0] * len(contents)
        self.reads = 0
        self.before_reading: Callable[[int], None] = lambda index: None

    def write(self, index: int, content: bytes, ago: float = 0) -> None:
        self.contents[index] = content
        self.changed[index] = (time.time_ns() - int(ago * 1e9)) // 2_000_000_000 * 2_000_000_000

    def stamp(self, index: int) -> Stamp:
        return len(self.contents[index]), 0, self.changed[index], index

    def digest(self, index: int) -> str:
        self.reads += 1
        self.before_reading(index)
        return digest.of_bytes(self.contents[index])

    def image(self, index: int, expected: bytes | None) -> np.ndarray:
        raise NotImplementedError

    def check(self, file: Path) -> None:
        ids = [str(index) for index in range(len(self.contents))]
        found, failed = digest_changed(self, ids, file, None)
        assert not failed
        assert found.tolist() == [digest.of_bytes(content).encode() for content in self.contents]


def test_a_change_within_a_tick_of_the_clock_is_noticed(tmp_path: Path) -> None:
    disk = Clocked(b"old")
    for content in (b"one", b"two", b"six"):
        disk.write(0, content)
        disk.check(tmp_path / "memory.npz")
    disk.write(0, b"ten", ago=10)
    disk.check(tmp_path / "memory.npz")
    disk.check(tmp_path / "memory.npz")
    assert disk.reads == 4


def test_a_file_that_is_exchanged_while_it_is_read_is_not_remembered(tmp_path: Path) -> None:
    disk = Clocked(b"old")

    def exchange(index: int) -> None:
        disk.contents[index], disk.changed[index] = b"new", 2_000_000_000

    disk.before_reading = exchange
    digest_changed(disk, ["0"], tmp_path / "memory.npz", None)
    disk.before_reading = lambda index: None
    disk.contents[0], disk.changed[0] = b"old", 0
    disk.check(tmp_path / "memory.npz")
    assert disk.reads == 2


def test_what_was_read_before_an_interruption_is_remembered(tmp_path: Path) -> None:
    disk = Clocked(*(b"%d" % number for number in range(2000)))

    def interrupt(count: int) -> None:
        if count == 256:  # not yet after the first few images
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digest_changed(disk, [str(number) for number in range(2000)], tmp_path / "memory.npz", interrupt)
    done = disk.reads
    assert done >= 256
    disk.check(tmp_path / "memory.npz")
    assert disk.reads <= 2000 + 256


def test_slow_disks_are_asked_by_threads(tmp_path: Path) -> None:
    names: set[str] = set()

    class Far(Clocked):
        def stamp(self, index: int) -> Stamp:
            names.add(threading.current_thread().name)
            time.sleep(0.0002)
            return super().stamp(index)

    disk = Far(*(b"%d" % number for number in range(3000)))
    disk.check(tmp_path / "memory.npz")
    disk.reads = 0
    disk.check(tmp_path / "memory.npz")
    assert disk.reads == 0
    assert len({name for name in names if name.startswith("featurebank-stamps")}) > 1


def test_arrays_have_no_memory(tmp_path: Path) -> None:
    dataset = load_dataset("digits")
    dataset.fingerprint(memory=tmp_path / "memory")
    np.testing.assert_array_equal(dataset.digests, load_dataset("digits").digests)
    assert not (tmp_path / "memory").exists()


def test_a_file_that_cannot_be_read_is_tried_again(
    folder: Path, tmp_path: Path, settled: Callable[[], None], make: SimpleNamespace
) -> None:
    (folder / "ant/0.png").unlink()
    (folder / "ant/0.png").symlink_to(folder / "nowhere.png")
    settled()
    for _ in range(2):
        dataset = load_dataset(folder)
        dataset.fingerprint(memory=tmp_path / "memory")
        assert [(skipped.id, skipped.reason) for skipped in dataset.unreadable] == [("ant/0.png", "file not found")]
    make.save(folder / "nowhere.png", 5)
    fingerprinted(folder, tmp_path / "memory")


@pytest.mark.parametrize(
    "name", ["new\nline.png", "ü 猫.png", "a'b\"c\\.png", "emoji 🐈.jpg", os.fsdecode(b"\xff.png")]
)
def test_odd_names(
    name: str, folder: Path, tmp_path: Path, settled: Callable[[], None], reads: list[str], make: SimpleNamespace
) -> None:
    try:
        make.save(tmp_path / "1.png", 7).rename(folder / "ant" / name)
    except OSError:
        pytest.skip("this disk has no such names")
    settled()
    first = load_dataset(folder)
    first.fingerprint(memory=tmp_path / "memory")
    reads.clear()
    again = load_dataset(folder)
    again.fingerprint(memory=tmp_path / "memory")
    assert reads == []
    np.testing.assert_array_equal(again.digests, first.digests)


# --- the file


@pytest.fixture
def remembered(folder: Path, tmp_path: Path, settled: Callable[[], None]) -> Path:
    settled()
    fingerprinted(folder, tmp_path / "memory")
    [file] = (tmp_path / "memory").iterdir()
    return file


def test_no_flipped_byte_gives_a_wrong_digest(remembered: Path, folder: Path, reads: list[str]) -> None:
    whole = remembered.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 60).astype(int).tolist():
        remembered.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        fingerprinted(folder, remembered.parent)


def forge(file: Path) -> None:
    """Another digest, in a file that is whole."""
    with np.load(file) as columns:
        arrays = dict(columns)
    arrays["digests"][0] = b"0" * 32
    np.savez(file, **arrays)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_text("not a memory"),
        lambda file: np.savez(file, x=np.zeros(3)),
        lambda file: np.savez(file, ids=np.array([{}], dtype=object)),
        lambda file: (file.unlink(), file.mkdir()),
        forge,
    ],
)
def test_a_damaged_memory_is_made_anew(
    damage: Callable[[Path], object], remembered: Path, folder: Path, reads: list[str]
) -> None:
    damage(remembered)
    reads.clear()
    fingerprinted(folder, remembered.parent)
    assert len(reads) == 9
    if remembered.is_file():
        reads.clear()
        fingerprinted(folder, remembered.parent)
        assert reads == []


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), DiskFullError("no space is left")])
def test_a_cache_that_cannot_be_written_does_not_matter(
    error: OSError, folder: Path, tmp_path: Path, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise error

    monkeypatch.setattr(fingerprint_cache, "atomic_path", refuse)
    settled()
    fingerprinted(folder, tmp_path / "memory")
    (tmp_path / "file").touch()
    fingerprinted(folder, tmp_path / "file")


def test_what_a_dead_process_left_is_removed(folder: Path, tmp_path: Path, settled: Callable[[], None]) -> None:
    place = tmp_path / "memory"
    place.mkdir()
    name = load_dataset(folder).name
    old, new = place / f".writing-0123456789ab-{name}.npz", place / f".writing-ba9876543210-{name}.npz"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    settled()
    fingerprinted(folder, place)
    assert not old.exists()
    assert new.exists()


PROCESS = """
import sys
from pathlib import Path
from featurebank.system import digest
from featurebank import load_dataset
from featurebank.dataset import fingerprint_cache
fingerprint_cache.SETTLED_NS = 0
root, place = map(Path, sys.argv[1:])
for number in range(40):
    if number % 4 == 0:
        (root / "ant/0.png").touch()
    dataset = load_dataset(root)
    dataset.fingerprint(memory=place)
    assert dataset.digests.tolist() == [digest.of_file(root / name).encode() for name in dataset.ids]
"""


def test_two_processes_share_a_memory(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(folder), str(tmp_path / "memory")]
    environment = {**os.environ, "PYTHONPATH": str(Path(fingerprint_cache.__file__).parents[2])}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert [path.name[0] for path in (tmp_path / "memory").iterdir()] == ["p"]


def test_stamps_of_odd_things(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, -(10**9)))
    found = stamp_of(str(path))
    status = path.stat()
    assert found == (5, -(10**9), status.st_ctime_ns, status.st_ino)
    assert stamp_of(str(tmp_path)) is None
    assert stamp_of(str(tmp_path / "nothing")) is None
    assert stamp_of("nul\0character") is None


# --- whatever happens to the files

NAMES = st.sampled_from(["ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png"])
CONTENTS = st.sampled_from([b"aaaa", b"bbbb", b"cccc"])


class Disk(RuleBasedStateMachine):
    """The digests are those of the bytes after any number of changes, some at once and some after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.root = self.place / "photos"
        for name in ("ant/0.png", "bee/0.png"):
            (self.root / name).parent.mkdir(parents=True)
            (self.root / name).write_bytes(b"aaaa")
        self.settled, fingerprint_cache.SETTLED_NS = fingerprint_cache.SETTLED_NS, int(SHORT * 1e9)

    def teardown(self) -> None:
        fingerprint_cache.SETTLED_NS = self.settled
        shutil.rmtree(self.place)

    @rule(name=NAMES, content=CONTENTS)
    def write(self, name: str, content: bytes) -> None:
        (self.root / name).write_bytes(content)

    @rule(name=NAMES, content=CONTENTS)
    def write_and_restore_the_time(self, name: str, content: bytes) -> None:
        path = self.root / name
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_bytes(content)
        os.utime(path, ns=(before, before))

    @rule(name=NAMES, content=CONTENTS)
    def replace(self, name: str, content: bytes) -> None:
        (self.place / "other").write_bytes(content)
        (self.place / "other").replace(self.root / name)

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        (self.root / name).touch()

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.root / old).replace(self.root / new)

    @rule(old=NAMES, new=NAMES)
    def exchange(self, old: str, new: str) -> None:
        if old != new and (self.root / old).exists() and (self.root / new).exists():
            (self.root / old).replace(self.place / "other")
            (self.root / new).replace(self.root / old)
            (self.place / "other").replace(self.root / new)

    @rule(old=NAMES, new=NAMES)
    def copy_with_times(self, old: str, new: str) -> None:
        with contextlib.suppress(FileNotFoundError, shutil.SameFileError):
            shutil.copy2(self.root / old, self.root / new)

    @rule(old=NAMES, new=NAMES)
    def link(self, old: str, new: str) -> None:
        if old != new and (self.root / old).exists():
            (self.root / new).unlink(missing_ok=True)
            os.link(self.root / old, self.root / new)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    @rule()
    def exchange_folders(self) -> None:
        (self.root / "ant").rename(self.place / "other")
        (self.root / "bee").rename(self.root / "ant")
        (self.place / "other").rename(self.root / "bee")

    @rule()
    def wait(self) -> None:
        time.sleep(1.5 * SHORT)

    @invariant()
    def digests_are_those_of_the_bytes(self) -> None:
        fingerprinted(self.root, self.place / "memory")


TestDisk = Disk.TestCase
TestDisk.settings = settings(max_examples=40, stateful_step_count=20)
