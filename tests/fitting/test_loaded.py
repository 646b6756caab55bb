"""Training data are read once for all tasks of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.errors import BankError
from featurebank.fitting import loaded
from featurebank.fitting.data import TrainingData
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.fitting.loaded import DataLoader, reference_data
from featurebank.system.parallel import SharedValue


@pytest.fixture(autouse=True)
def own_process_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_loaders", SharedValue())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The taps that are read from banks from now on."""
    taps: list[str] = []
    read = Bank._read
    monkeypatch.setattr(Bank, "_read", lambda self, tap, *more: taps.append(tap) or read(self, tap, *more))
    return taps


@pytest.mark.parametrize("fold", [None, Fold(1, 3), Fold(2, 3, 1)])
def test_a_reference_leads_to_the_same_data(make_bank: Callable[..., Bank], fold: Fold | None) -> None:
    bank = make_bank(taps=("pooled", "map"))
    for tap in bank.taps:
        data = TrainingData.of(bank, tap) if fold is None else FoldedImages(bank, tap).data(fold)
        assert data.reference
        with reference_data(data.reference) as found:
            for name in ("X", "y", "X_val", "y_val"):
                np.testing.assert_array_equal(getattr(found, name), getattr(data, name))
            assert (found.tap, found.classes, found.reference) == (data.tap, data.classes, data.reference)


def test_threads_of_a_process_read_the_features_once(make_bank: Callable[..., Bank], reads: list[str]) -> None:
    reference = TrainingData.of(make_bank(), "pooled").reference
    assert reference
    reads.clear()
    both = threading.Barrier(2, timeout=60)

    def use(_: int) -> Any:
        with reference_data(reference) as data:
            both.wait()
            return data.shared

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(use, range(2))
    assert one is other
    assert len(reads) == 2, "the training images and the validation images"


def test_folds_of_a_tap_are_cut_from_images_that_are_read_once(
    make_bank: Callable[..., Bank], reads: list[str]
) -> None:
    loader = DataLoader(make_bank())
    for part in range(3):
        loader.get("pooled", 0, Fold(part, 3))
    assert len(reads) == 1


def test_a_bank_that_has_changed_is_refused(make_bank: Callable[..., Bank]) -> None:
    reference = TrainingData.of(make_bank(), "pooled").reference
    assert reference
    other = replace(reference, bank="0" * 32)
    with (
        pytest.raises(BankError, match="has other images, labels or splits than when this work began"),
        reference_data(other),
    ):
        pass
