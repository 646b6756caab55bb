"""The rows of a bank as vectors: directions that are compared (near duplicates, similar images), and rows of shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from featurebank.bank.reader import Bank
from featurebank.bank.rows import ShardPart

_Result = TypeVar("_Result")


def vector_tap(bank: Bank) -> str | None:
    """Returns "pooled" or the first other tap of vectors; None if all taps are maps."""
    vectors = [tap for tap in bank.taps if len(bank.tap_shape(tap)) == 1]
    return "pooled" if "pooled" in vectors else next(iter(vectors), None)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Returns the rows scaled to length 1, in their own dtype; rows of zeros are not changed.

    Args:
        rows: (n, d) float32 or float64.
    """
    # Scaled by the maximum first, because squares of features above 1e19 overflow float32.
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    rows = rows / np.where(peak > 0, peak, 1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), rows.dtype)


def scan(bank: Bank, tap: str, work: Callable[[list[ShardPart]], _Result]) -> _Result:
    """Calls a function once with the clean rows of all images, shard by shard, without reading them.

    The function is called again from the start if a writer moves rows to other shards while it works.

    Raises:
        UnknownNameError: the bank has no such tap.
        BankDamagedError: a shard is missing or damaged.
    """
    return bank._rows.scan(tap, 0, work)


def positions_in(bank: Bank, *splits: str) -> np.ndarray:
    """Returns the positions in `Bank.ids()` of the images in some splits: (n,) int64, ascending.

    Raises:
        UnknownNameError: there is no such split.
    """
    # `Bank.splits` is a text for each image: at ten million images, 200 MB.
    return np.sort(np.concatenate([bank._positions(split) for split in splits]))


def by_shard(bank: Bank, tap: str, positions: np.ndarray) -> list[np.ndarray]:
    """Returns the images whose clean rows lie in the same shard: indices into `positions`, (m,) int32 a shard.

    Args:
        bank: the bank.
        tap: the tap to read.
        positions: (n,) positions of the images in `Bank.ids()`.

    Raises:
        UnknownNameError, BankDamagedError: see `Bank.features`.
    """
    shards = bank._rows.shards_of(tap, 0, positions)
    order = np.argsort(shards, kind="stable").astype(np.int32)
    return np.split(order, np.flatnonzero(np.diff(shards[order])) + 1) if len(order) else []
