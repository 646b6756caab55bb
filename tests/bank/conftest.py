"""Rows, and banks made of them, without images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys

RECIPE = {"backbone": "net", "weights": "w", "image_size": 32}
DATASET = {"name": "data", "spec": "folder:/data", "classes": ["a", "b"], "fractions": [0.7, 0.15, 0.15], "seed": 0}


def digests(numbers: range | list[int]) -> np.ndarray:
    return np.array([f"{n:032x}".encode() for n in numbers], "S32")


def features(numbers: range | list[int], width: int = 8) -> np.ndarray:
    """Row n is n, n + 1/8, ...: exact in float16 for small n."""
    return (np.array(list(numbers))[:, None] + np.arange(width) / 8).astype(np.float32)


def items(numbers: range) -> Items:
    numbers_ = np.array(numbers)
    ids = tuple(f"{'ab'[n % 2]}/{n}.png" for n in numbers)
    return Items(ids, digests(numbers), (numbers_ % 2).astype(np.int32), (numbers_ % 3).astype(np.uint8))


def writer(path: Path, recipe: dict[str, object] = RECIPE) -> BankWriter:
    return BankWriter(path, recipe, DATASET)


def append(to: BankWriter, numbers: range, *taps: str) -> None:
    to.append([str(n) for n in numbers], row_keys(digests(numbers)), dict.fromkeys(taps, features(numbers)),
              dict.fromkeys(taps))  # fmt: skip


def make_bank(path: Path, count: int = 12, shards: int = 3, taps: tuple[str, ...] = ("pooled",)) -> Path:
    """A bank of `count` rows in some shards."""
    with writer(path) as to:
        for numbers in np.array_split(np.arange(count), shards):
            append(to, range(int(numbers[0]), int(numbers[-1]) + 1), *taps)
            to.flush()
        to.finish(items(range(count)), taps, [], {"added": count, "seconds": 1.0})
    return path


@pytest.fixture
def rows() -> SimpleNamespace:
    return SimpleNamespace(
        digests=digests,
        features=features,
        items=items,
        writer=writer,
        append=append,
        recipe=RECIPE,
        dataset=DATASET,
        keys=row_keys,
    )


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    return lambda name="bank", **options: make_bank(tmp_path / name, **options)
