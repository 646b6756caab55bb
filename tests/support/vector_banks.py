"""A bank of vectors in several shards, and a limit of memory that they exceed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.heads.inputs import check_finite
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.system import digest

CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def vector_bank(tmp_path: Path) -> Callable[..., Bank]:
    """Returns a bank of 180 training, 60 validation and 60 test images in six shards a view."""

    def made(
        *, d: int = 6, dtype: str = "float32", views: int = 0, shards: int = 6, missing: int | None = None,
        noise: float = 2.0, offset: float = 0.0,
    ) -> Bank:  # fmt: skip
        random = np.random.default_rng(3)
        n = 300
        labels = np.arange(n, dtype=np.int32) % len(CLASSES)
        splits = random.permutation(np.repeat(np.array([0, 1, 2], np.uint8), [180, 60, 60]))
        if missing is not None:  # no training image has this class
            labels[(splits == 0) & (labels == missing)] = (missing + 1) % len(CLASSES)
        means = random.normal(0, 1, (len(CLASSES), d))
        X = (means[labels] + random.normal(0, noise, (n, d)) + offset).astype(np.float32)
        X *= random.uniform(0.3, 3, d).astype(np.float32)  # features of different scales
        ids = sorted((f"{number}.png" for number in range(n)), key=digest.of_recipe)  # as a bank has them
        digests = np.array([digest.of_recipe(name) for name in ids], "S32")
        path = tmp_path / f"bank-{d}-{dtype}-{views}-{shards}-{missing}-{offset}"
        with BankWriter(path, {"backbone": "none"}, {"name": "made", "classes": list(CLASSES)}) as writer:
            for view in range(1 + views):
                for part in np.array_split(np.arange(n), shards):
                    values = X[part] + view
                    names = [ids[i] for i in part.tolist()]
                    writer.append(names, row_keys(digests[part], view), {"pooled": values}, {"pooled": dtype})
                    writer.flush()
            items = Items(ids, digests, labels, splits)
            writer.finish(items, ("pooled",), (), None, views=views)
        return Bank(path)

    return made


@pytest.fixture
def set_ram(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """Sets `--ram` in bytes, also below the least that a user may give."""
    return lambda count: monkeypatch.setattr("featurebank.system.runtime._ram_limit", count)


class ArrayVectors(StoredVectors):
    """Vectors that are read from an array as if it were a bank."""

    def __init__(self, X: np.ndarray) -> None:
        self.X, self.views = X, 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self.X.shape

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, selection: Any) -> Self:
        return type(self)(self.X[selection])

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.X, dtype)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        check_finite(self.X[rows])
        return np.asarray(self.X[rows])
