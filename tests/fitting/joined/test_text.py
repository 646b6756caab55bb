"""The grammar of joined taps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from featurebank.fitting.joined.text import canonical_text, is_joined, split_parts

OWN = st.lists(st.sampled_from(["pooled", "map:avg", "block:max", "cls"]), unique=True)
OTHERS = st.lists(st.sampled_from(["vit:cls", "net:pooled"]), unique=True)
COLUMNS = st.lists(st.sampled_from(["age", "site"]), unique=True)


@given(OWN, OTHERS, COLUMNS)
def test_the_order_of_the_parts_does_not_matter(own: list[str], others: list[str], columns: list[str]) -> None:
    text = canonical_text(own, others, columns)
    assert canonical_text(own[::-1], others[::-1], columns[::-1]) == text
    taps, names = split_parts(text) if text else ([], [])
    assert (sorted(taps), names) == (sorted([*own, *others]), sorted(columns))
    assert is_joined(text, []) == (len(taps) + bool(names) > 1 or bool(names))


def test_a_tap_of_the_bank_is_no_joined_tap() -> None:
    assert not is_joined("a+b", ["a+b"])
    assert not is_joined("columns:avg", ["columns:avg"])
    assert is_joined("a+b", ["a", "b"])
    assert not is_joined(3, ["a"])
