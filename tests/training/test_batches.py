"""Batches of one size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.training.batches import padded


@given(count=st.integers(1, 200), size=st.integers(1, 64))
def test_every_row_counts_once_in_its_order(count: int, size: int) -> None:
    order = np.random.default_rng(count).permutation(count)
    rows, weights, _ = padded(order, size)
    assert rows.shape == weights.shape == (-(-count // size), size)
    assert np.array_equal(rows[weights > 0], order)
    assert weights.sum() == count
