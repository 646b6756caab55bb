"""Every byte of a bank stands under a checksum."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest

from featurebank.bank import shard as shards
from featurebank.bank.maintenance.garbage import collect
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.bank.reader import Bank
from featurebank.errors import BankDamagedError, BankNotFoundError, BankUnreadableError


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << random.Random(place).randrange(8)
    path.write_bytes(bytes(data))


def test_a_whole_bank(tmp_path: Path, make: Callable[..., Path]) -> None:
    found = verify_bank(make(count=12, shards=3))
    assert (found.shards, found.damaged, found.forgotten) == (3, (), ())
    assert found.bytes == sum(path.stat().st_size for path in (tmp_path / "bank").glob("*.h5"))


@pytest.mark.parametrize("kind", ["shard", "items"])
def test_any_flipped_byte_is_found(tmp_path: Path, make: Callable[..., Path], kind: str) -> None:
    path = make(count=6, shards=1)
    victim = next(path.glob(f"{kind}-*"))
    whole = victim.read_bytes()
    for place in random.Random(0).sample(range(len(whole)), 100):
        flip(victim, place)
        assert len(verify_bank(path).damaged) == 1, place
        victim.write_bytes(whole)
    assert verify_bank(path).damaged == ()


def test_a_flipped_byte_of_the_manifest_is_an_error(tmp_path: Path, make: Callable[..., Path]) -> None:
    path = make()
    whole = (path / MANIFEST).read_bytes()
    flip(path / MANIFEST, whole.index(b'"rows"') + 9)
    with pytest.raises(BankDamagedError):
        verify_bank(path)


def test_a_missing_shard_is_found(tmp_path: Path, make: Callable[..., Path]) -> None:
    path = make(count=12, shards=3)
    missing = load_manifest(path).shards[1].file
    (path / missing).unlink()
    assert [missing in line for line in verify_bank(path).damaged] == [True]


def test_forgotten_shards_are_missing_rows_until_they_are_made_again(
    tmp_path: Path, make: Callable[..., Path], rows: SimpleNamespace
) -> None:
    path = make(count=12, shards=3)
    peace = Bank(path).features()
    shard = load_manifest(path).shards[1]
    flip(path / shard.file, shard.taps["pooled"].offset + 5)
    found = verify_bank(path, forget=True)
    assert found.forgotten == (shard.file,)
    assert verify_bank(path).damaged == ()
    with pytest.raises(BankDamagedError, match="lacks 4 rows"):
        Bank(path).features()
    with rows.writer(path) as to:
        rows.append(to, range(4, 8), "pooled")
    assert (Bank(path).features() == peace).all()


def test_no_bank(tmp_path: Path) -> None:
    with pytest.raises(BankNotFoundError):
        verify_bank(tmp_path)


# ---- what the system cannot read is not damaged


@pytest.mark.parametrize("locking", [None, True, False])
def test_a_shard_that_this_process_has_open_is_whole(
    make: Callable[..., Path], rows: SimpleNamespace, locking: bool | None
) -> None:
    """HDF5 refuses to open a file twice with other settings of locks, as a notebook may have it open."""
    path = make(count=12, shards=3)
    with h5py.File(next(path.glob("shard-*")), "r", locking=locking):
        assert Bank(path).features().shape == (12, 8)
        assert verify_bank(path).damaged == ()
        with rows.writer(path) as to:
            assert to.lost == ()
            assert len(to.stored("pooled")) == 12


def refuse_to_open(file: Path) -> io.BufferedReader:
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))


def refuse_to_read(file: Path) -> io.BufferedReader:
    """Opens a file so that the system refuses each reading, as where a disk fails later."""
    return io.BufferedReader(io.FileIO(os.open(file, os.O_WRONLY)))


@pytest.mark.parametrize("opened", [refuse_to_open, refuse_to_read])
def test_what_cannot_be_read_is_kept_and_told(
    make: Callable[..., Path],
    rows: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[[Path], io.BufferedReader],
) -> None:
    path = make(count=12, shards=3)
    before = {file: file.read_bytes() for file in path.iterdir()}
    monkeypatch.setattr(shards, "open_regular", opened)
    told = r"shard '.*' cannot be read now: .*; it may be intact, so nothing is recomputed"
    with pytest.raises(BankUnreadableError, match=told), rows.writer(path):
        pass
    with pytest.raises(BankUnreadableError, match=told):
        collect(path)
    found = verify_bank(path, forget=True)
    assert (found.damaged, found.forgotten, len(found.unreadable)) == ((), (), 3)
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in path.iterdir()} == before
    assert Bank(path).features().shape == (12, 8)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_the_place_of_a_file_never_blocks(make: Callable[..., Path]) -> None:
    path = make(count=4, shards=1)
    for pattern in ("shard-*", "items-*", MANIFEST):
        file = next(path.glob(pattern))
        whole = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(BankUnreadableError, match="a named pipe, not a regular file"):
            Bank(path).features()
        file.unlink()
        file.write_bytes(whole)
