"""Clean-up takes what nothing needs, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from listener import Listener

from featurebank.bank import writer as limits
from featurebank.bank.locks.writer_lock import WriterLock
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import load_manifest
from featurebank.bank.reader import Bank
from featurebank.errors import BankDamagedError, BankIncompleteError, BankLockedError


def keep(path: Path, rows: SimpleNamespace, numbers: range) -> None:
    """Makes some of the rows all that the bank has to have."""
    with rows.writer(path) as to:
        to.finish(rows.items(numbers), ["pooled"], [], None)


def test_nothing_to_do(make: Callable[..., Path]) -> None:
    path = make()
    before = {file: file.read_bytes() for file in path.iterdir()}
    assert not collect(path)
    assert {file: file.read_bytes() for file in path.iterdir()} == before


def test_what_is_planned_is_what_goes(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make(count=12, shards=3)
    keep(path, rows, range(2, 6))
    names = {".writing-1-shard-a.h5", "shard-b.h5", "items-c.npz", "items-d.page", "shards-e.page"}
    for name in names:
        (path / name).write_bytes(b"x" * 1000)
    (path / "mine.txt").write_bytes(b"the user's own")
    plan = plan_gc(path)
    assert {file.name for file in plan.files} == names
    assert (plan.dead_rows, len(plan.rewrites), plan.whole) == (8, 3, False)
    size = sum(file.stat().st_size for file in path.iterdir())
    done = collect(path)
    assert (done.dead_rows, len(done.files), len(done.rewrites)) == (8, 5, 3)
    assert done.bytes > 5000
    assert sum(file.stat().st_size for file in path.iterdir()) < size
    assert (path / "mine.txt").read_bytes() == b"the user's own"
    bank = Bank(path)
    assert bank.features().tolist() == rows.features(range(2, 6)).tolist()
    assert sum(shard.rows for shard in bank.manifest.shards) == 4
    assert verify_bank(path).damaged == ()
    assert not plan_gc(path)
    assert bank.manifest.history[-1]["removed_rows"] == 8


def test_many_small_shards_become_one(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make(count=20, shards=20)
    assert plan_gc(path).dead_rows == 0
    collect(path)
    bank = Bank(path)
    assert len(bank.manifest.shards) == 1
    assert bank.features().tolist() == rows.features(range(20)).tolist()


def test_new_shards_keep_the_limits(
    make: Callable[..., Path], rows: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(count=20, shards=20)
    monkeypatch.setattr(limits, "SHARD_ROWS", 8)
    collect(path)
    assert sorted(shard.rows for shard in load_manifest(path).shards) == [4, 8, 8]
    assert Bank(path).features().tolist() == rows.features(range(20)).tolist()


def test_rows_that_two_shards_have_stay_once(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        for numbers in (range(6), range(4, 10)):
            rows.append(to, numbers, "pooled")
            to.flush()
        to.finish(rows.items(range(10)), ["pooled"], [], None)
    assert collect(tmp_path).dead_rows == 2
    assert Bank(tmp_path).features().tolist() == rows.features(range(10)).tolist()


def test_views_stay_apart(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        for view in (0, 1):
            keys = rows.keys(rows.digests(range(6)), view)
            to.append(list("abcdef"), keys, {"pooled": rows.features(range(6)) + 100 * view}, {"pooled": None})
        to.finish(rows.items(range(2, 6)), ["pooled"], [], None, views=1)
    assert collect(tmp_path).dead_rows == 4
    bank = Bank(tmp_path)
    for view in (0, 1):
        assert bank.features(view=view).tolist() == (rows.features(range(2, 6)) + 100 * view).tolist()


def test_a_shard_that_another_bank_has_too_is_left(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    """To rewrite it would take space, not free it."""
    path = make(count=12, shards=2)
    shard = load_manifest(path).shards[0].file
    os.link(path / shard, path.parent / "other.h5")
    keep(path, rows, range(5, 7))
    assert [r.shard.file == shard for r in plan_gc(path).rewrites] == [False]


def test_a_reader_opened_before_reads_on(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make(count=12, shards=3)
    keep(path, rows, range(2, 9))
    read, fresh = Bank(path), Bank(path)
    before = read.features()
    blocks = fresh.blocks(seed=1, block_bytes=1)
    first = next(blocks)
    collect(path)
    assert np.array_equal(read.features(), before)
    rest = [first, *blocks]
    assert np.array_equal(
        np.concatenate([b.features for b in rest])[np.argsort(np.concatenate([b.positions for b in rest]))], before
    )


def test_rows_that_a_reader_still_wants_are_missed_aloud(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make(count=12, shards=3)
    old = Bank(path)
    keep(path, rows, range(2, 9))
    collect(path)
    with pytest.raises(BankDamagedError, match="lacks 5 rows"):
        old.features()


def test_a_bank_that_is_being_written_is_left_alone(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make()
    keep(path, rows, range(3))
    with WriterLock(path), pytest.raises(BankLockedError):
        collect(path)


def test_unfinished_banks_lose_their_leftovers_alone(tmp_path: Path, rows: SimpleNamespace) -> None:
    path = tmp_path / "bank"
    with rows.writer(path) as to:
        rows.append(to, range(6), "pooled")
    with pytest.raises(BankIncompleteError, match="finish it first"):
        plan_gc(path)
    (path / "shard-unlisted.h5").write_bytes(b"x")
    assert [file.name for file in collect(path).files] == ["shard-unlisted.h5"]
    with rows.writer(path) as to:
        assert len(to.stored("pooled")) == 6


def test_damaged_shards_are_told_and_not_listed_again(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    listener = Listener()
    path = make(count=12, shards=3)
    keep(path, rows, range(3, 6))
    victim = path / load_manifest(path).shards[0].file
    victim.write_bytes(b"x")
    collect(path, reporter=listener)
    assert len(listener.warned) == 1
    assert victim.name in listener.warned[0]
    with pytest.raises(BankDamagedError, match="lacks 1 row "):
        Bank(path).features()


def test_damaged_rows_never_get_a_new_checksum(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    listener = Listener()
    path = make(count=12, shards=3)
    keep(path, rows, range(1, 11))
    shard = load_manifest(path).shards[0]
    data = bytearray((path / shard.file).read_bytes())
    data[shard.taps["pooled"].offset + 40] ^= 1
    (path / shard.file).write_bytes(data)
    collect(path, reporter=listener)
    assert [shard.file in line for line in listener.warned] == [True]
    assert [shard.file in line for line in verify_bank(path).damaged] == [True]
    assert verify_bank(path, forget=True).forgotten == (shard.file,)
    with rows.writer(path) as to:
        rows.append(to, range(4), "pooled")
    collect(path)
    assert Bank(path).features().tolist() == rows.features(range(1, 11)).tolist()


def test_a_bank_with_no_shard_that_can_be_read(make: Callable[..., Path]) -> None:
    path = make(count=12, shards=1)
    next(path.glob("shard-*")).write_bytes(b"x")
    assert not plan_gc(path)


def test_what_is_left_of_a_bank_goes_as_a_whole(make: Callable[..., Path], tmp_path: Path) -> None:
    path = make()
    (path / "manifest.json").unlink()
    assert not plan_gc(path), "it may be a bank that is just being made"
    os.utime(path, (time.time() - 1000,) * 2)
    assert plan_gc(path).whole
    (path / "mine.txt").write_bytes(b"x")
    os.utime(path, (time.time() - 1000,) * 2)
    assert not plan_gc(path), "this is somebody else's"
    (path / "mine.txt").unlink()
    os.utime(path, (time.time() - 1000,) * 2)
    assert collect(path).whole
    assert not path.exists()
    assert not plan_gc(tmp_path / "nothing")


def test_records_that_a_grid_writes_now_are_not_touched(make: Callable[..., Path]) -> None:
    path = make()
    (path / "runs").mkdir()
    new, old = path / "runs" / ".writing-1-a.json", path / "runs" / ".writing-2-b.json"
    for file in (new, old):
        file.write_bytes(b"{")
    os.utime(old, (time.time() - 7200,) * 2)
    assert [file.name for file in collect(path).files] == [old.name]
    assert new.exists()


def test_no_room_for_new_shards(
    make: Callable[..., Path], rows: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurebank.errors import DiskFullError

    path = make(count=12, shards=3)
    keep(path, rows, range(2, 9))

    def full(*arguments: object) -> None:
        raise DiskFullError

    monkeypatch.setattr("featurebank.bank.maintenance.garbage.write_shard", full)
    with pytest.raises(DiskFullError):
        collect(path)
    assert Bank(path).features().tolist() == rows.features(range(2, 9)).tolist()
    shutil.rmtree(path)
