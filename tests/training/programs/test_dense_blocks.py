"""Which blocks a large kernel is cut into; `tests/heads/neural/test_together.py` trains heads in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from featurebank.training.programs import dense_blocks


@given(inputs=st.integers(1, 1 << 16), heads=st.integers(1, 64), units=st.integers(1, 4096))
def test_blocks_are_all_columns_in_order(inputs: int, heads: int, units: int) -> None:
    blocks = dense_blocks.blocks_of(inputs, heads, units)
    columns = [
        head * units + unit
        for block in blocks
        for head in range(block.heads.start, block.heads.stop)
        for unit in (block.units.start, block.units.stop - 1)
    ]
    assert columns == sorted(columns)
    assert (columns[0], columns[-1]) == (0, heads * units - 1)
    sizes = [(b.heads.stop - b.heads.start) * (b.units.stop - b.units.start) for b in blocks]
    assert sum(sizes) == heads * units
    assert max(sizes) <= 2 * min(sizes)
