"""Which features are loaded and which stay in the bank, as `--ram` decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featurebank import make_head
from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.errors import RamLimitError
from featurebank.fitting.data import TrainingData, load_features
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.heads.streamed.vectors import StoredVectors

ROW = 4 * 6


@pytest.mark.parametrize(
    ("ram", "views", "stored"),
    [
        (2 * 240 * ROW, 0, (False, False)),  # both take half of it
        (2 * 240 * ROW - 2, 0, (True, True)),
        (2 * 240 * ROW, 1, (True, False)),  # a second view of the training images
        (240 * ROW, 0, (True, True)),
    ],
)
def test_vectors_stay_in_the_bank_beyond_half_of_the_limit(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any], ram: int, views: int, stored: tuple[bool, bool]
) -> None:
    bank = vector_bank(views=views)
    X, X_val = bank.features("pooled", "train"), bank.features("pooled", "val")
    set_ram(ram)
    data = TrainingData.of(bank, "pooled")
    assert (isinstance(data.X, StoredVectors), isinstance(data.X_val, StoredVectors)) == stored
    assert (data.shortage is None) == (not stored[0])
    assert len(data.views) == (0 if stored[0] else views)
    set_ram(10**9)
    assert np.array_equal(np.asarray(data.X), X)
    assert np.array_equal(np.asarray(data.X_val), X_val)


def test_small_training_images_beside_large_validation_images(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    set_ram(2 * 240 * ROW - 2)
    bank = vector_bank()
    X, _ = load_features(bank, "pooled", positions_in(bank, "train"))
    assert isinstance(X, np.ndarray)  # alone they take less than half


def test_the_line_about_features_that_stay_in_the_bank(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = vector_bank()
    set_ram(8000)
    assert TrainingData.of(bank, "pooled").shortage == (
        "features of 'pooled' need 5.8 kB, more than half of the 8.0 kB that --ram allows: heads that can read them in "
        "blocks do so; the others load all of them"
    )
    set_ram(3000)
    data = TrainingData.of(bank, "pooled")
    assert data.shortage == (
        "features of 'pooled' need 5.8 kB, --ram allows 3.0 kB: heads that can read them in blocks do so; the others "
        "fail unless those of the training images fit"
    )
    expected = (
        "it needs the features of tap 'pooled' in memory, 4.3 kB, and --ram allows 3.0 kB: train it on fewer images "
        "with --sample N, such as --sample 62, or increase --ram"
    )
    with pytest.raises(RamLimitError, match=f"^{expected}$"):
        _ = data.in_memory


def test_what_fits_after_all_is_loaded_for_heads_that_need_it(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = vector_bank()
    set_ram(8000)
    data = TrainingData.of(bank, "pooled")
    assert not data.is_read_by(make_head("knn"))
    assert data.is_read_by(make_head("ridge"))
    assert isinstance(data.in_memory.X, np.ndarray)
    assert data.in_memory is data.in_memory
    assert data.in_memory.is_read_by(None)


def test_folds_are_slices_of_what_stays_in_the_bank(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = vector_bank(views=1)
    expected = FoldedImages(bank, "pooled").data(Fold(1, 3))
    set_ram(8000)
    data = FoldedImages(bank, "pooled").data(Fold(1, 3))
    assert isinstance(data.X, StoredVectors)
    assert isinstance(data.X_val, StoredVectors)
    set_ram(10**9)
    assert np.array_equal(np.concatenate(data.X.read()), np.concatenate([expected.X, *expected.views]))
    assert np.array_equal(np.asarray(data.X_val), expected.X_val)
    assert np.array_equal(data.y, expected.y)
