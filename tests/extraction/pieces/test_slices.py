"""The size of a slice is a function of the request, and slices are a partition of its images."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank.writer import SHARD_BYTES, SHARD_ROWS
from featurebank.extraction.pieces.slices import cut_slices, slice_size


@given(images=st.integers(1, 10**8), views=st.integers(0, 255), row=st.integers(4, 1 << 28))
def test_a_slice_fits_a_shard(images: int, views: int, row: int) -> None:
    size = slice_size(images, views=views, image_bytes=row * (views + 1))
    assert size == 1 or (size * (views + 1) <= SHARD_ROWS and size * row * (views + 1) <= SHARD_BYTES)


@given(count=st.integers(0, 300), size=st.integers(1, 50))
def test_slices_are_a_partition(count: int, size: int) -> None:
    images = np.array([b"%032x" % number for number in range(count)], "S32")
    parts = cut_slices(images, size)
    assert np.array_equal(np.concatenate([images[:0], *parts]), images)
    assert all(len(part) == size for part in parts[:-1])
