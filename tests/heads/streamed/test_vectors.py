"""Blocks of stored vectors: every row once, in order or shuffled, whatever the size of a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank, rows
from featurebank.bank.items import Items
from featurebank.bank.pages.shard_pages import RowDigests
from featurebank.errors import BankDamagedError
from featurebank.heads.streamed.vectors import StoredVectors, VectorBlock

SIZES = (24, 100, 700, 10**6)


def rows_of(blocks: list[VectorBlock]) -> np.ndarray:
    return np.concatenate([block.rows for block in blocks])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_blocks_in_order_are_the_clean_features(vector_bank: Callable[..., Bank], dtype: str) -> None:
    bank = vector_bank(dtype=dtype, views=1)
    stored = StoredVectors(bank, "pooled", np.arange(0, 300, 2), 2)
    for size in SIZES:
        blocks = list(stored.blocks(block_bytes=size))
        assert max(len(block.rows) for block in blocks) == min(150, max(1, size // 24))
        assert np.array_equal(rows_of(blocks), np.arange(150))
        X = np.concatenate([block.X for block in blocks])
        assert X.dtype == np.float32
        assert np.array_equal(X, bank.features()[::2])


def test_shuffled_blocks_hold_each_image_once_in_a_view_at_random(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank(views=1)
    positions = np.flatnonzero(bank.splits() == "train")
    stored = StoredVectors(bank, "pooled", positions, 2)
    views = np.concatenate(stored.read())
    for size in SIZES:
        blocks = list(stored.blocks(seed=1, epoch=2, block_bytes=size))
        rows = rows_of(blocks)
        assert np.array_equal(np.sort(rows % 180), np.arange(180))
        assert 60 < (rows < 180).sum() < 120
        for block in blocks:
            assert np.array_equal(block.X, views[block.rows])
        assert {len(block.rows) for block in blocks[:-1]} <= {max(1, size // 24)}


def test_the_order_is_that_of_seed_and_epoch(vector_bank: Callable[..., Bank]) -> None:
    stored = StoredVectors(vector_bank(), "pooled", np.arange(300))
    orders = {
        (seed, epoch): rows_of(list(stored.blocks(seed=seed, epoch=epoch, block_bytes=2000))).tolist()
        for seed in (0, 1) for epoch in (0, 1)
    }  # fmt: skip
    assert len({tuple(order) for order in orders.values()}) == 4
    again = rows_of(list(stored.blocks(seed=0, epoch=1, block_bytes=2000)))
    assert again.tolist() == orders[0, 1]


def test_a_shuffled_block_mixes_shards_and_views(vector_bank: Callable[..., Bank]) -> None:
    stored = StoredVectors(vector_bank(views=1), "pooled", np.arange(300), 2)
    first = next(iter(stored.blocks(seed=0, block_bytes=24 * 120)))
    assert len(np.unique(first.rows % 300 // 50)) == 3  # a shard has 50 rows, and the third one is divided
    assert len(np.unique(first.rows // 300)) == 2
    assert not np.array_equal(first.rows % 300, np.sort(first.rows % 300))


def test_the_limit_of_memory_bounds_a_block(vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]) -> None:
    stored = StoredVectors(vector_bank(), "pooled", np.arange(300))
    set_ram(16 * 24 * 7)
    for seed in (None, 0):
        assert max(map(len, stored.groups(seed))) == 7


def test_a_shard_that_goes_away_is_one_clear_line(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    blocks = StoredVectors(bank, "pooled", np.arange(300)).blocks(block_bytes=24 * 50)
    next(blocks)
    for shard in bank.manifest.shards:
        (bank.path / shard.file).unlink()
    with pytest.raises(BankDamagedError, match=r"shard '.*' is damaged: the file does not exist; run the same"):
        list(blocks)


def test_digests_leave_memory_while_rows_are_located(
    vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, released = vector_bank(), []
    monkeypatch.setattr(rows, "_RELEASED", 2)
    monkeypatch.setattr(Items, "release", lambda self: released.append("images"))
    monkeypatch.setattr(RowDigests, "release", lambda self: released.append("shards"))
    assert np.array_equal(Bank(bank.path).features(), bank.features())
    assert sorted(released) == ["images"] * 8 + ["shards"] * 8  # twice: after each second one of six shards, at the end
