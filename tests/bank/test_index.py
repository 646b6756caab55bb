"""Digests are found where they are, also those that look alike to the first search."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank.index import Finder, contained

digests = st.lists(
    st.one_of(
        st.text("0123456789abcdef", min_size=32, max_size=32),
        st.integers(0, 9).map(lambda n: f"{n:032x}"),  # alike in the first 64 bits
        st.just(""),
    ).map(str.encode),
    max_size=20,
)


@given(digests, digests)
def test_finds_the_first_of_equal_ones(stored: list[bytes], wanted: list[bytes]) -> None:
    found = Finder(np.array(stored, "S32")).find(np.array([*wanted, *stored], "S32"))
    assert found.tolist() == [stored.index(d) if d in stored else -1 for d in [*wanted, *stored]]


@given(digests, digests)
def test_contained(wanted: list[bytes], stored: list[bytes]) -> None:
    assert contained(np.array(wanted, "S32"), np.array(stored, "S32")).tolist() == [d in stored for d in wanted]


def test_a_hundred_thousand_that_look_alike_are_compared_together() -> None:
    """Looking them up one by one would compare 10^10 pairs, and a stranger's bank decides how many there are."""
    stored = np.array([f"{n:032x}".encode() for n in range(100_000)], "S32")
    found = Finder(stored).find(stored[::-1])
    assert np.array_equal(found, np.arange(100_000)[::-1])
    assert (Finder(stored).find(np.array([b"%032x" % (1 << 60)] * 5, "S32")) == -1).all()
