"""Texts become the narrowest type that holds them, and nothing is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.dataset.readers.metadata import from_texts

NAN = float("nan")


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1", "-20"], np.int64, [1, -20]),
        (["1", ""], np.float64, [1, NAN]),
        (["1", "2.5", "1e3", ".5", "-inf", "nan"], np.float64, [1, 2.5, 1000, 0.5, -np.inf, NAN]),
        (["true", "False"], np.bool_, [True, False]),
    ],
)
def test_numbers(texts: list[str], dtype: type, values: list[float]) -> None:
    found = from_texts(texts)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    "texts",
    [
        ["007", "123"],  # codes
        ["1_000"],
        ["٣"],
        [" 1"],
        ["true", ""],
        ["", ""],
        ["1", "x"],
        [str(2**63), "1"],
        [str(2**53 + 1), ""],  # float64 would round it
        ["9" * 5000],
    ],
)
def test_texts_stay_texts(texts: list[str]) -> None:
    found = from_texts(texts)
    assert found.dtype.kind == "U"
    assert found.tolist() == texts


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_whole_numbers_survive(values: list[int]) -> None:
    assert from_texts([str(value) for value in values]).tolist() == values


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_nothing_is_an_object(texts: list[str]) -> None:
    found = from_texts(texts)
    assert found.shape == (len(texts),)
    assert found.dtype.kind in "ifbU"
    if found.dtype.kind == "U":
        assert found.tolist() == texts
