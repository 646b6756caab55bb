"""A disk that is full: one line, nothing lost, nothing left over, and with more room the same command goes on.

The disk is real, a file system of some kilobytes in memory. That matters: HDF5 1.14, asked to write to a full disk,
ends the whole process, which no test double shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.bank.catalog import remove_bank
from featurebank.bank.items import Items
from featurebank.bank.locks import note, writer_lock
from featurebank.bank.locks.writer_lock import WriterLock, read_holder
from featurebank.bank.maintenance.garbage import plan_gc
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]
Process = subprocess.Popen[str]
Start = Callable[..., Process]
Ended = Callable[..., tuple[str, str]]
DATASET = {"name": "data", "spec": "folder:/data", "classes": ["a", "b"], "fractions": [0.7, 0.15, 0.15], "seed": 0}


@dataclass
class Disk:
    """A file system in memory."""

    path: Path

    def mount(self, kilobytes: int, *options: str) -> None:
        chosen = ",".join([f"size={kilobytes}k", *options])
        subprocess.run(["mount", "-t", "tmpfs", "-o", chosen, "tmpfs", self.path], check=True, capture_output=True)

    def resize(self, kilobytes: int) -> None:
        self.mount(kilobytes, "remount")

    @property
    def free(self) -> int:
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave: int = 0) -> Path:
        """Takes all the room but for some kilobytes."""
        place = self.path / "filler"
        place.write_bytes(bytes(max(0, self.free - (leave << 10))))
        assert self.free <= leave << 10
        return place


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root can mount: test_as_root_of_a_namespace runs this")
    found = Disk(tmp_path / "disk")
    found.path.mkdir()
    try:
        found.mount(512)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        refuse(f"no file system can be mounted here: {getattr(error, 'stderr', error)!r}")
    yield found
    subprocess.run(["umount", "-l", found.path], check=True)


def refuse(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI this has to be seen")
    pytest.skip(reason)


def test_as_root_of_a_namespace() -> None:
    """Runs the tests of this file where a user without rights may mount."""
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("they run as they are")
    try:
        subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        refuse(f"no namespace in which a file system can be mounted: {getattr(error, 'stderr', error)!r}")
    command = [
        "unshare",
        "-rm",
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "-k",
        "not namespace",
        __file__,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout


def one_line(error: str) -> str:
    (line,) = (line for line in error.splitlines() if line != "began")
    assert line.startswith("Error: no space is left for '"), line
    assert "free some space" in line
    return line


def stray(path: Path) -> list[str]:
    """Files of a bank that nothing lists."""
    listed = load_manifest(path).files if (path / MANIFEST).is_file() else set()
    return [file.name for file in path.iterdir() if file.name not in {*listed, MANIFEST, writer_lock.LOCK}]


def features(numbers: range) -> np.ndarray:
    return (np.array(list(numbers))[:, None] + np.arange(64) / 64).astype(np.float32)


def make_bank(path: Path, count: int = 40, kept: range = range(40)) -> Bank:
    """A bank of `count` rows of 256 bytes, in shards of ten, of which some are still wanted; two classes far apart."""
    digests = np.array([f"{n:032x}".encode() for n in range(count)], "S32")
    with BankWriter(path, {"backbone": "net", "weights": "w"}, DATASET) as to:
        for start in range(0, count, 10):
            block = {"pooled": features(range(start, start + 10))}
            to.append([str(n) for n in range(10)], row_keys(digests[start : start + 10]), block, {"pooled": None})
            to.flush()
        here = np.array(kept)
        splits = (here // 2 % 3).astype(np.uint8)
        ids = [f"{n}.png" for n in kept]
        to.finish(Items(ids, digests[here], (here % 2).astype(np.int32), splits), ["pooled"], [], None)
    return Bank(path)


def test_an_extraction(
    extracts: Start, ended: Ended, all_of: Callable[..., Any], disk: Disk, tmp_path: Path
) -> None:  # fmt: skip
    """It runs into the end of the disk at several moments, the last of them while the shards are all there."""
    views = ("--views", 1, "--augment", "flip")
    peace = json.loads(ended(extracts(*views, cache=tmp_path / "peace"))[0])
    kept, stops = 0, 0
    for kilobytes in range(24, 600, 48):
        disk.resize(kilobytes)
        process = extracts(*views, cache=disk.path)
        out, error = process.communicate(timeout=120)
        (path,) = disk.path.glob("photos-*")
        assert not stray(path)
        if process.returncode == 0:
            break
        assert process.returncode == 1
        one_line(error)
        rows = sum(shard.rows for shard in load_manifest(path).shards) if (path / MANIFEST).is_file() else 0
        assert rows >= kept, "what was finished is kept"
        if rows:
            assert verify_bank(path).damaged == ()
        kept, stops = rows, stops + 1
    done = json.loads(out)
    assert stops >= 4
    assert kept >= 24
    assert done["reused"] + done["added"] == 24
    assert all_of(path) == all_of(Path(peace["bank"]))


def test_a_limit_of_file_size(extracts: Start, ended: Ended, all_of: Callable[..., Any], tmp_path: Path) -> None:
    """A quota stands for the full disk: it works everywhere, without rights. The first shards fit."""
    peace = json.loads(ended(extracts(cache=tmp_path / "peace"))[0])
    process = extracts(PAUSE=0.05, FULL=8)
    one_line(ended(process, 1)[1])
    (path,) = (tmp_path / "cache").glob("photos-*")
    kept = sum(shard.rows for shard in load_manifest(path).shards)
    assert kept >= 4
    assert not stray(path)
    assert json.loads(ended(extracts())[0])["added"] == 24 - kept
    assert all_of(path) == all_of(Path(peace["bank"]))


def test_not_even_room_for_the_note(extracts: Start, ended: Ended, disk: Disk) -> None:
    filler = disk.fill()
    line = one_line(ended(extracts(cache=disk.path), 1)[1])
    assert "writer.json" in line
    filler.unlink()
    assert json.loads(ended(extracts(cache=disk.path))[0])["added"] == 24


def test_a_full_disk_is_no_death_of_the_writer(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note, "HEARTBEAT_S", 0.02)
    with WriterLock(disk.path):
        filler = disk.fill()
        first, moment = read_holder(disk.path), (disk.path / writer_lock.NOTE).stat().st_mtime_ns
        time.sleep(0.2)
        assert read_holder(disk.path) == first, "no room for another note, and the old one stands"
        assert (disk.path / writer_lock.NOTE).stat().st_mtime_ns > moment, (
            "whoever watches it sees that its holder lives"
        )
        filler.unlink()
        deadline = time.monotonic() + 10
        while read_holder(disk.path) == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert [path.name for path in disk.path.iterdir()] == [writer_lock.LOCK]


def files_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


def gc(disk: Disk, name: str = "") -> list[object]:
    return ["-q", "--cache", disk.path, "cache", "gc", *([name] if name else [])]


def test_a_clean_up_without_room(child: Start, ended: Ended, disk: Disk) -> None:
    """It has to write shards anew, and cannot."""
    path = make_bank(disk.path / "data--net--0", 40, range(5, 36)).path
    before = files_of(path)
    filler = disk.fill()
    for name in (path.name, ""):
        _, error = ended(child(*gc(disk, name)), 1)
        assert error.startswith("skipped: no space is left for '"), error
        assert error.count("\n") == 1
        assert files_of(path) == before
    filler.unlink()
    ended(child(*gc(disk, path.name)))
    assert Bank(path).features().tolist() == features(range(5, 36)).tolist()
    assert sum(shard.rows for shard in load_manifest(path).shards) == 31
    assert not stray(path)


def test_a_clean_up_makes_its_own_room(child: Start, ended: Ended, disk: Disk) -> None:
    """On a full disk, where not even the writer's note can be written, it first takes away what nothing needs."""
    path = make_bank(disk.path / "data--net--0", 60, range(5, 36)).path
    (path / "shard-left.h5").write_bytes(bytes(8192))
    disk.fill()
    ended(child(*gc(disk)))
    assert Bank(path).features().tolist() == features(range(5, 36)).tolist()
    assert sum(shard.rows for shard in load_manifest(path).shards) == 31
    assert not stray(path)
    assert not plan_gc(path)


def test_removing_a_bank_makes_room(disk: Disk) -> None:
    path = make_bank(disk.path / "data--net--0").path
    filler = disk.fill()
    free = disk.free
    remove_bank(path)
    assert list(disk.path.iterdir()) == [filler]
    assert disk.free > free


def test_a_merge_onto_a_smaller_disk(child: Start, ended: Ended, disk: Disk, tmp_path: Path) -> None:
    """Between file systems there are no hard links: shards are copied, as far as there is room."""
    one = make_bank(tmp_path / "one" / "data--net--0", 40, range(30)).path
    two = make_bank(tmp_path / "two" / "data--net--0", 60, range(25, 60)).path
    merge = ("-q", "--cache", disk.path, "cache", "merge", one, two, "--json")
    for leave in (0, 32):
        filler = disk.fill(leave)
        one_line(ended(child(*merge), 1)[1])
        for path in disk.path.glob("data-*"):
            assert not stray(path)
        filler.unlink()
    done = json.loads(ended(child(*merge))[0])
    bank = Bank(done["bank"])
    assert bank.path.parent == disk.path
    assert bank.features().tolist() == features(range(60)).tolist()
    assert verify_bank(bank.path).damaged == ()
    assert all((bank.path / shard.file).stat().st_nlink == 1 for shard in bank.manifest.shards)
    assert not stray(bank.path)


def test_a_grid_of_heads(child: Start, ended: Ended, disk: Disk, tmp_path: Path) -> None:
    path = make_bank(disk.path / "data--net--0").path
    before = files_of(path)
    grid = tmp_path / "grid.toml"
    grid.write_text('[[head]]\nkind = "ridge"\nalpha = [1, 10, 100]\n[[head]]\nkind = "knn"\nn_neighbors = [1, 5]\n')
    heads = ("-q", "--cache", disk.path, "heads", "--grid", grid, "--json")
    filler = disk.fill(24)  # room for the largest head and its predictions, and not for all five records beside it
    one_line(ended(child(*heads), 1)[1])
    assert files_of(path) == before
    runs = path / "runs"
    assert not list(runs.glob(".writing-*"))
    assert 1 <= len(load_runs(Bank(path))) == len(list(runs.glob("*.json"))) < 5, "what was trained is kept"
    assert verify_bank(path).damaged == ()
    filler.unlink()
    told = json.loads(ended(child(*heads))[0])
    assert len(told["runs"]) == 5
    assert (runs / f"{told['best']}.head").is_file()
    assert verify_bank(path).damaged == ()


@pytest.mark.parametrize("suffix", ["h5", "npz"])
def test_one_plain_file(child: Start, ended: Ended, disk: Disk, tmp_path: Path, suffix: str) -> None:
    make_bank(tmp_path / "data--net--0", 400, range(400))
    place = disk.path / f"plain.{suffix}"
    export = ("-q", "--cache", tmp_path, "cache", "export", "-o", place)
    for kilobytes in (64, 112):
        disk.resize(kilobytes)
        one_line(ended(child(*export), 1)[1])
        assert list(disk.path.iterdir()) == []
    disk.resize(4096)
    ended(child(*export))
    before = place.read_bytes()
    disk.fill(64)
    one_line(ended(child(*export), 1)[1])
    assert place.read_bytes() == before, "the old file stands until the new one is whole"
    if suffix == "npz":
        found = np.load(place)["features"]
    else:
        with h5py.File(place, "r") as file:
            found = file["features"][...]
    assert np.array_equal(found, features(range(400)))


def test_the_memory_of_digests(disk: Disk, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a help and no more: without room the files are read again the next time."""
    monkeypatch.setattr("featurebank.dataset.fingerprint_cache.SETTLED_NS", 0)
    time.sleep(0.03)  # longer than a kernel's clock stands still
    memory = disk.path / ".fingerprints"
    peace = load_dataset(str(photos)).digests.tolist()
    filler = disk.fill()

    def look() -> list[bytes]:
        dataset = load_dataset(str(photos))
        dataset.fingerprint(None, memory)
        return dataset.digests.tolist()

    assert look() == peace
    assert list(disk.path.rglob("*.npz")) == list(disk.path.rglob(".writing-*")) == []
    filler.unlink()
    assert look() == peace
    (file,) = memory.iterdir()
    whole = file.read_bytes()
    disk.fill()
    (photos / "ant" / "0.jpg").unlink()
    assert look() == load_dataset(str(photos)).digests.tolist()
    assert file.read_bytes() == whole, "the old one stands"
    assert list(memory.iterdir()) == [file]
