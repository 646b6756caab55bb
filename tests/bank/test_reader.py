"""Rows by id: of the right split, in the right order, or an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank.bank.items import Items
from featurebank.bank.maintenance.garbage import collect
from featurebank.bank.manifest import Manifest, load_items, load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.rows import as_float32
from featurebank.dataset.splits import SPLITS
from featurebank.errors import BankDamagedError, BankIncompleteError, ConfigError, UnknownNameError


@pytest.mark.parametrize("split", [None, *SPLITS])
def test_columns_belong_together(make: Callable[..., Path], rows: SimpleNamespace, split: str | None) -> None:
    bank = Bank(make(count=17, shards=4))
    numbers = [int(i.split("/")[1].removesuffix(".png")) for i in bank.ids(split)]
    expected = [n for n in range(17) if split is None or SPLITS[n % 3] == split]
    assert sorted(numbers) == expected
    assert bank.features("pooled", split).tolist() == rows.features(numbers).tolist()
    assert bank.labels(split).tolist() == [n % 2 for n in numbers]
    if split is None:
        assert bank.splits().tolist() == [SPLITS[n % 3] for n in numbers]


def test_ids_of_one_content_share_a_row(tmp_path: Path, rows: SimpleNamespace) -> None:
    table = rows.items(range(6))
    table.digests[:] = rows.digests([0, 1, 0, 2, 1, 0])
    with rows.writer(tmp_path) as to:
        rows.append(to, range(3), "pooled")
        to.finish(table, ["pooled"], [], None)
    bank = Bank(tmp_path)
    found = dict(zip(bank.ids(), bank.features()[:, 0].tolist(), strict=True))
    assert found == {"a/0.png": 0, "b/1.png": 1, "a/2.png": 0, "b/3.png": 2, "a/4.png": 1, "b/5.png": 0}


def test_about_a_tap(make: Callable[..., Path]) -> None:
    bank = Bank(make(count=5, shards=2))
    assert (bank.tap_shape("pooled"), bank.tap_dtype("pooled"), bank.tap_bytes("pooled")) == ((8,), "float32", 160)
    assert bank.classes == ("a", "b")
    assert len(bank) == 5
    assert bank.features().dtype == np.float32


def test_unknown_names_are_helped(make: Callable[..., Path]) -> None:
    bank = Bank(make())
    with pytest.raises(UnknownNameError, match=r"did you mean 'pooled'\?.*--tap poled"):
        bank.features("poled")
    with pytest.raises(UnknownNameError, match=r"did you mean 'train'\?"):
        bank.ids("trian")
    with pytest.raises(ConfigError, match="no view 1"):
        bank.features(view=1)


def test_what_was_opened_stays_as_it_was(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make(count=6, shards=2)
    before = Bank(path)
    with rows.writer(path) as to:
        rows.append(to, range(6, 9), "pooled")
        to.flush()
        assert Bank(path).ids() == before.ids(), "written, and not yet visible"
        to.finish(rows.items(range(2, 9)), ["pooled"], [], None)
    assert len(before) == 6
    assert before.features().tolist() == rows.features(range(6)).tolist()
    assert Bank(path).features().tolist() == rows.features(range(2, 9)).tolist()


def test_labels_that_change_there_and_back_while_it_is_opened(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table that a manifest lists is gone for a moment, and then the same manifest stands again."""
    path = make()
    tries = []

    def load(directory: Path, manifest: Manifest) -> Items:
        tries.append(manifest)
        if len(tries) <= 2:
            message = "it was replaced"
            raise BankDamagedError(message)
        return load_items(directory, manifest)

    monkeypatch.setattr("featurebank.bank.manifest.load_items", load)
    assert len(Bank(path)) == 12
    next(path.glob("items-*")).write_bytes(b"x")
    with pytest.raises(BankDamagedError, match="items-"):
        Bank(path)


def test_threads_share_a_bank_while_its_rows_move(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    """One thread finds that `cache gc` has moved the rows, while another has just looked up where they were."""
    path = make(count=12, shards=3)
    with rows.writer(path) as to:
        to.finish(rows.items(range(5, 12)), ["pooled"], [], None)
    bank = Bank(path)
    inside = bank._rows

    def moved(*arguments: Any) -> Any:
        found = locate(*arguments)
        if not collect(path):
            return found
        monkeypatch.undo()
        assert bank.features().tolist() == rows.features(range(5, 12)).tolist()  # the other thread
        return found

    locate = inside._locate
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(inside, "_locate", moved)
        assert bank.features().tolist() == rows.features(range(5, 12)).tolist()


def test_unfinished_bank(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        rows.append(to, range(6), "pooled")
    with pytest.raises(BankIncompleteError, match="6 rows so far"):
        Bank(tmp_path)


@pytest.mark.parametrize("opened", ["before", "after", "read"])
@pytest.mark.parametrize("size", [None, 10])
def test_damaged_shard(make: Callable[..., Path], opened: str, size: int | None) -> None:
    path = make()
    bank = Bank(path)
    if opened == "read":
        bank.features()
    shard = path / load_manifest(path).shards[1].file
    if size is None:
        shard.unlink()
    else:
        os.truncate(shard, size)
    bank = Bank(path) if opened == "after" else bank
    with pytest.raises(BankDamagedError, match=shard.name):
        bank.features()


def test_repair_that_was_interrupted(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    """The damaged shards are not listed any more, their rows not yet made again."""
    path = make(shards=1)
    (path / load_manifest(path).shards[0].file).unlink()
    with rows.writer(path) as to:
        assert len(to.lost) == 1
        rows.append(to, range(4), "other")
    with pytest.raises(BankDamagedError, match="run the same 'featurebank extract' again"):
        Bank(path).features()
    with pytest.raises(BankDamagedError, match="run the same 'featurebank extract' again"):
        Bank(path).tap_shape("pooled")
    with rows.writer(path) as to:
        rows.append(to, range(4), "pooled")
    with pytest.raises(BankDamagedError, match="lacks 8 rows"):
        Bank(path).features()


def test_digest_follows_what_heads_depend_on(make: Callable[..., Path], rows: SimpleNamespace) -> None:
    path = make("one")
    first = Bank(path).digest
    assert Bank(make("two", shards=1)).digest == first
    with rows.writer(path) as to:
        table = rows.items(range(12))
        table.labels[3] ^= 1
        to.finish(table, ["pooled"], [], None)
    assert Bank(path).digest != first


@pytest.mark.filterwarnings("error")
def test_every_finite_half_becomes_its_float32() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    found = as_float32(halves[:, np.newaxis])
    assert found.dtype == np.float32
    assert np.array_equal(found.ravel().view(np.int32), halves.astype(np.float32).view(np.int32)), "also the sign of 0"
    assert as_float32(found) is found
    assert as_float32(halves.reshape(-1, 2)[:, ::-1]).tolist() == halves.reshape(-1, 2)[:, ::-1].tolist()
