"""Features that stay in the bank: shape, slices, rows of views, and reading everything."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.errors import RamLimitError
from featurebank.heads.streamed.features import in_memory
from featurebank.heads.streamed.vectors import StoredVectors


def test_slices_select_images_of_the_same_bank(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank(views=1)
    stored = StoredVectors(bank, "pooled", np.arange(10, 200), 2)
    assert (stored.shape, stored.ndim, len(stored), stored.views) == ((190, 6), 2, 190, 2)
    assert (stored.row_bytes, stored.needed_bytes) == (24, 24 * 190 * 2)
    whole = bank.features()[10:200]
    assert np.array_equal(np.asarray(stored), whole)
    for selection in (slice(5, 50), np.arange(190) % 3 == 0, np.array([7, 1, 1])):
        part = stored[selection]
        assert np.array_equal(in_memory(part), whole[selection])
        assert part.views == 2


def test_rows_of_views(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank(views=2)
    stored = StoredVectors(bank, "pooled", np.arange(20, 60), 3)
    clean, first, second = stored.read()
    rows = np.array([3, 39, 40 + 3, 0, 80 + 39])
    assert np.array_equal(stored.batch(rows), [clean[3], clean[39], first[3], clean[0], second[39]])
    assert np.array_equal(first, bank.rows("pooled", np.arange(20, 60), view=1))


def test_reading_everything_obeys_the_limit(vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]) -> None:
    stored = StoredVectors(vector_bank(), "pooled", np.arange(100))
    set_ram(2000)
    with pytest.raises(RamLimitError, match="the features of tap 'pooled' need"):
        stored.read()
    assert np.asarray(stored[:50]).shape == (50, 6)


def test_another_process_gets_the_same_features(vector_bank: Callable[..., Bank]) -> None:
    stored = StoredVectors(vector_bank(), "pooled", np.arange(100))
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(stored))), np.asarray(stored))
