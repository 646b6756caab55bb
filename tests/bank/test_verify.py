"""Every byte of a bank stands under a checksum."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.verify import verify_bank
from featurebank.errors import BankDamagedError, BankNotFoundError


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
