"""Passes over stored vectors: in order with any number of threads, one at a time, shown, and ended between blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vector_banks import ArrayVectors

from featurebank.bank import Bank
from featurebank.bank.maintenance import garbage
from featurebank.errors import BankDamagedError
from featurebank.heads.streamed import progress
from featurebank.heads.streamed.passes import Passes, StoppedError
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.system.progress import Reporter, shown_by
from featurebank.system.runtime import limit_threads
from featurebank.training.loop import between_epochs


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Passes over 100 vectors in blocks of ten."""
    monkeypatch.setattr(Passes, "rows", lambda passes, width=0: 10)
    return Passes(ArrayVectors(np.arange(300, dtype=np.float32).reshape(100, 3)))


@pytest.mark.parametrize("threads", [1, 4])
def test_results_come_in_the_order_of_the_blocks(passes: Passes, threads: int) -> None:
    found: list[float] = []
    limit_threads(threads)
    try:
        passes.run(lambda block: float(block.X[0, 0]), found.append, what="summing up")
    finally:
        limit_threads(None)
    assert found == [30.0 * number for number in range(10)]


def test_a_wide_result_makes_small_blocks(set_ram: Callable[[int], Any]) -> None:
    passes = Passes(ArrayVectors(np.empty((10, 4), np.float32)))
    set_ram(10**12)
    assert passes.rows() == (16 << 20) // 16
    assert passes.rows(1 << 22) == 1
    set_ram(10)
    assert passes.rows() == 1


def test_only_one_pass_runs_at_a_time(passes: Passes) -> None:
    order: list[str] = []
    started, go_on = threading.Event(), threading.Event()

    def first() -> None:
        order.append("one")
        started.set()
        go_on.wait()

    def run() -> None:
        passes.run(lambda block: 0, lambda result: None, what="summing up")

    passes.on_block = first
    one = threading.Thread(target=run)
    one.start()
    started.wait()
    passes.on_block = lambda: order.append("two")
    two = threading.Thread(target=run)
    two.start()
    go_on.set()
    one.join()
    two.join()
    assert order == ["one"] * 10 + ["two"] * 10


def test_a_pass_ends_between_two_blocks(passes: Passes) -> None:
    found: list[int] = []

    def stop() -> None:
        if len(found) == 3:
            message = "enough"
            raise StoppedError(message)

    with between_epochs(lambda: None, within=stop), pytest.raises(StoppedError, match="enough"):
        passes.run(lambda block: len(block.rows), found.append, what="summing up")
    assert found == [10, 10, 10]
    passes.run(lambda block: len(block.rows), found.append, what="summing up")  # the lock is free again
    assert len(found) == 13


def test_a_pass_shows_rows_rate_and_time(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SHOWN_EVERY_S", 0.0)
    shown: list[str] = []

    class Lines(Reporter):
        def detail(self, text: str) -> None:
            shown.append(text)

    with shown_by(Lines()):
        passes.run(lambda block: 0, lambda result: None, what="summing up")
    assert len(shown) == 11
    assert shown[2].startswith("summing up: row 30 of 100, ")
    assert shown[2].endswith(" left")
    assert shown[-1] == ""


def test_rows_that_move_to_other_shards_are_found_again(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    found: list[np.ndarray] = []

    def move() -> None:
        if len(found) == 2:
            garbage.collect(bank.path)

    stored = StoredVectors(bank, "pooled", np.arange(300))
    expected = np.asarray(stored)
    for group in stored.groups(block_bytes=24 * 50):
        move()
        found.append(stored.block(group).X)
    assert np.array_equal(np.concatenate(found), expected)


def test_a_shard_that_goes_away_ends_the_pass(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    passes = Passes(StoredVectors(bank, "pooled", np.arange(300)))
    for shard in bank.manifest.shards:
        (bank.path / shard.file).unlink()
    with pytest.raises(BankDamagedError, match="the file does not exist; run the same 'featurebank extract' again"):
        passes.run(lambda block: 0, lambda result: None, what="summing up")
