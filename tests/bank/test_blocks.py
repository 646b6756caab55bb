"""Features that do not fit into memory: part by part, every image once, in another order for every seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter
from featurebank.dataset.splits import SPLITS
from featurebank.errors import DiskFullError, RamLimitError
from featurebank.system import runtime

pytestmark = pytest.mark.heavy


@pytest.fixture
def bank(make: Callable[..., Path]) -> Bank:
    return Bank(make(count=40, shards=8))


@pytest.fixture
def small_ram() -> Iterator[None]:
    runtime.limit_ram("1MB")
    yield
    runtime.limit_ram(None)


@pytest.mark.parametrize("split", [None, *SPLITS])
@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("block_bytes", [1, 400, 1 << 20])
def test_every_image_once_with_its_own_features(
    bank: Bank, split: str | None, seed: int | None, block_bytes: int
) -> None:
    blocks = list(bank.blocks("pooled", split, seed=seed, block_bytes=block_bytes))
    positions = np.concatenate([block.positions for block in blocks])
    assert sorted(positions.tolist()) == list(range(len(bank.ids(split))))
    if seed is None:
        assert positions.tolist() == sorted(positions.tolist())
    features = np.concatenate([block.features for block in blocks])
    assert features.dtype == np.float32
    assert features.tobytes() == bank.features("pooled", split)[positions].tobytes()
    assert np.concatenate([block.labels for block in blocks]).tolist() == bank.labels(split)[positions].tolist()
    if block_bytes == 400 and seed is None:
        assert max(block.features.nbytes for block in blocks) <= 400


def test_the_seed_decides_the_order(bank: Bank) -> None:
    def order(seed: int) -> list[int]:
        return np.concatenate([b.positions for b in bank.blocks(seed=seed, block_bytes=400)]).tolist()

    assert order(1) == order(1) != order(2)
    assert order(1) != sorted(order(1))


@pytest.mark.usefixtures("small_ram")
def test_what_does_not_fit_is_refused_and_can_be_read_in_parts(tmp_path: Path, rows: SimpleNamespace) -> None:
    wide = np.arange(30 * 10_000, dtype=np.float32).reshape(30, 10_000)
    with rows.writer(tmp_path) as to:
        to.append([str(n) for n in range(30)], rows.keys(rows.digests(range(30))), {"pooled": wide}, {"pooled": None})
        to.finish(rows.items(range(30)), ["pooled"], [], None)
    bank = Bank(tmp_path)
    with pytest.raises(RamLimitError, match=r"need 0\.00 GB.*--ram"):
        bank.features()
    blocks = list(bank.blocks())
    assert max(block.features.nbytes for block in blocks) <= 125_000
    assert np.array_equal(np.concatenate([block.features for block in blocks]), wide)


@pytest.mark.parametrize("view", [0, 1])
def test_one_plain_file(tmp_path: Path, rows: SimpleNamespace, view: int) -> None:
    maps = {v: (np.arange(5 * 8) + 100 * v).astype(np.float32).reshape(5, 2, 2, 2) for v in (0, 1)}
    with rows.writer(tmp_path / "bank") as to:
        for v, block in maps.items():
            to.append(list("abcde"), rows.keys(rows.digests(range(5)), v), {"map": block}, {"map": "float16"})
        to.finish(rows.items(range(5)), ["map"], [], None, views=1)
    bank = Bank(tmp_path / "bank")
    with np.load(bank.to_npz(tmp_path / "plain.npz", "map", view=view), allow_pickle=False) as npz:
        plain = {name: npz[name] for name in npz.files}
    with h5py.File(bank.to_hdf5(tmp_path / "plain.h5", "map", view=view), "r") as file:
        columns = {name: file[name][...] for name in file}
        assert file["ids"].asstr()[...].tolist() == bank.ids()
    assert set(plain) == set(columns) == {"features", "labels", "ids", "splits", "classes"}
    for found in (plain, columns):
        assert found["features"].dtype == np.float32
        assert np.array_equal(found["features"], maps[view])
        assert found["labels"].tolist() == bank.labels().tolist()
        assert [str(s, "utf-8") if isinstance(s, bytes) else s for s in found["classes"]] == ["a", "b"]
    assert plain["ids"].tolist() == bank.ids()
    assert plain["splits"].tolist() == bank.splits().tolist()


def test_names_of_any_language_in_a_plain_file(tmp_path: Path, rows: SimpleNamespace) -> None:
    table = rows.items(range(2))
    table = type(table)(("ünï/图.jpg", "b"), table.digests, table.labels, table.splits)
    with rows.writer(tmp_path / "bank") as to:
        rows.append(to, range(2), "pooled")
        to.finish(table, ["pooled"], [], None)
    with h5py.File(Bank(tmp_path / "bank").to_hdf5(tmp_path / "a.h5"), "r") as file:
        assert file["ids"].asstr()[...].tolist() == ["ünï/图.jpg", "b"]


def test_a_plain_file_without_classes(tmp_path: Path, rows: SimpleNamespace) -> None:
    """Of images without labels."""
    with BankWriter(tmp_path / "bank", rows.recipe, {**rows.dataset, "classes": []}) as to:
        rows.append(to, range(2), "pooled")
        to.finish(rows.items(range(2)), ["pooled"], [], None)
    with h5py.File(Bank(tmp_path / "bank").to_hdf5(tmp_path / "a.h5"), "r") as file:
        assert file["classes"].shape == (0,)
        assert np.array_equal(file["features"][...], rows.features(range(2)))


@pytest.mark.parametrize("write", ["to_hdf5", "to_npz"])
def test_a_full_disk_leaves_the_old_file(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    import errno

    place = tmp_path / "plain"
    getattr(bank, write)(place)
    before = place.read_bytes()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("featurebank.bank.plain_files._reserve", full)
    monkeypatch.setattr("featurebank.bank.plain_files._write_header", full)
    with pytest.raises(DiskFullError, match="free some space"):
        getattr(bank, write)(place)
    assert place.read_bytes() == before
    assert not list(tmp_path.glob(".writing-*"))
