"""XGBoost on vectors that stay in the bank: the trees of memory, whether the bins are in memory or in files."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xgboost

from featurebank.bank import Bank
from featurebank.bank.locks.scratch import PREFIX
from featurebank.errors import BankDamagedError, DiskFullError, HeadError, RamLimitError
from featurebank.heads.boosted import XGBoostHead
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.streamed.passes import Passes, StoppedError
from featurebank.heads.streamed.vectors import StoredVectors

pytestmark = pytest.mark.heavy

IN_FILES = 7000
"""A limit of memory in bytes below which the bins of the training images, 3600 bytes, are in files."""
OPTIONS: dict[str, Any] = {"n_estimators": 12, "max_depth": 3, "max_bin": 16, "early_stopping_rounds": 2}


def images(bank: Bank, split: str) -> tuple[StoredVectors, np.ndarray]:
    return StoredVectors(bank, "pooled", np.flatnonzero(bank.splits() == split)), bank.labels(split)


def remains(bank: Bank) -> list[str]:
    gc.collect()
    return [path.name for path in (bank.path / "runs").glob(f"{PREFIX}*")]


@pytest.mark.parametrize("ram", [10**9, IN_FILES])
@pytest.mark.parametrize("missing", [None, 1])
def test_the_trees_are_those_of_memory(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any], ram: int, missing: int | None
) -> None:
    bank = vector_bank(dtype="float16", missing=missing, noise=0.7)
    (X, y), (X_val, y_val) = images(bank, "train"), images(bank, "val")
    weights = np.random.default_rng(0).uniform(0.2, 2, len(y)) if missing else None
    expected = XGBoostHead(**OPTIONS).fit_shared(Shared(np.asarray(X), y, weights), (np.asarray(X_val), y_val))
    set_ram(ram)
    shared = StreamedShared(X, y, weights)
    head = XGBoostHead(**OPTIONS).fit_shared(shared, (X_val, y_val))
    other = XGBoostHead(**{**OPTIONS, "max_depth": 2}).fit_shared(shared, (X_val, y_val))  # shares the bins
    assert head.booster_.get_dump() == expected.booster_.get_dump()
    assert np.array_equal(head.classes_, expected.classes_)
    assert np.array_equal(head.predict_proba(X_val.read()[0]), expected.predict_proba(X_val.read()[0]))
    assert other.booster_.num_boosted_rounds() > 0
    assert bool(remains(bank)) == (ram == IN_FILES)
    del shared
    assert remains(bank) == []


def test_principal_components(vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]) -> None:
    bank = vector_bank(noise=0.5)
    (X, y), (X_val, y_val) = images(bank, "train"), images(bank, "val")
    expected = XGBoostHead(**OPTIONS, pca=3).fit(np.asarray(X), y, (np.asarray(X_val), y_val))
    set_ram(IN_FILES)
    head = XGBoostHead(**OPTIONS, pca=3).fit_shared(StreamedShared(X, y), (X_val, y_val))
    assert head.booster_.num_features() == 3
    features = bank.rows("pooled", np.arange(100))
    assert (head.predict(features) == expected.predict(features)).mean() > 0.9


def test_more_classes_than_memory_allows(vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = images(vector_bank(), "train")
    monkeypatch.setattr("featurebank.heads.memory.UNCOUNTED", 100)
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 10_000)
    with pytest.raises(RamLimitError, match=r"^XGBoostHead with 4 classes needs 1.* fewer images .--sample N."):
        XGBoostHead(**OPTIONS).fit_shared(StreamedShared(X, y))


def test_it_is_stopped_between_blocks_and_rounds(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = vector_bank()
    X, y = images(bank, "train")
    set_ram(IN_FILES)
    for most in (3, 30):  # in the middle of the bins, and after some rounds
        calls: list[int] = []

        def stop(calls: list[int] = calls, most: int = most) -> None:
            calls.append(1)
            if len(calls) == most:
                message = "enough"
                raise StoppedError(message)

        with pytest.raises(StoppedError, match="enough"):
            XGBoostHead(**{**OPTIONS, "n_estimators": 50}).fit_shared(StreamedShared(X, y, passes=Passes(X, stop)))
        assert remains(bank) == []


def test_a_shard_that_goes_away(vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]) -> None:
    bank = vector_bank()
    X, y = images(bank, "train")
    set_ram(IN_FILES)

    def remove() -> None:
        for shard in bank.manifest.shards:
            (bank.path / shard.file).unlink(missing_ok=True)

    with pytest.raises(BankDamagedError, match="the file does not exist"):
        XGBoostHead(**OPTIONS).fit_shared(StreamedShared(X, y, passes=Passes(X, remove)))
    assert remains(bank) == []


def test_a_full_disk(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = vector_bank()
    X, y = images(bank, "train")
    set_ram(IN_FILES)

    def fail(*args: Any, **options: Any) -> Any:
        message = "[07:00:00] cache.cc:1: Check failed: fo->Write(...)\nStack trace: ..."
        raise xgboost.core.XGBoostError(message)

    monkeypatch.setattr(xgboost, "train", fail)
    with pytest.raises(HeadError, match=r"^XGBoost refused: Check failed"):
        XGBoostHead(**OPTIONS).fit_shared(StreamedShared(X, y))
    monkeypatch.undo()
    set_ram(IN_FILES)
    blocks = iter(range(99))

    def fill(*about: Any) -> Any:
        """A disk that another process fills once the work has begun."""
        free = 1 << 40 if next(blocks) < 2 else 0
        return SimpleNamespace(free=free)

    with monkeypatch.context() as patch:
        patch.setattr("featurebank.bank.locks.scratch.shutil.disk_usage", fill)
        with pytest.raises(DiskFullError, match=r"need about 1\.0 MB, and 0 B are free: free some space"):
            XGBoostHead(**OPTIONS).fit_shared(StreamedShared(X, y))
    assert remains(bank) == []
    monkeypatch.setattr(xgboost, "train", fail)
    monkeypatch.setattr("featurebank.heads.boosted.LEAST_FREE", 1 << 60)
    with pytest.raises(DiskFullError, match="free some space"):
        XGBoostHead(**OPTIONS).fit_shared(StreamedShared(X, y))
