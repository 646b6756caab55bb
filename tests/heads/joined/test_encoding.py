"""Columns of metadata as features."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.errors import DatasetError, UnknownNameError
from featurebank.heads.joined.encoding import ColumnEncoding

COLUMNS = {"age": np.array([40, 50]), "well": np.array([True, False]), "site": np.array(["north", "south"])}


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abcxy"), min_size=1))
def test_a_category_is_one_feature_and_an_unknown_one_is_none(training: list[str], new: list[str]) -> None:
    encoding = ColumnEncoding.of({"letter": np.array(training)})
    encoded = encoding.encode({"letter": np.array(new)})
    assert encoded.shape == (len(new), len(set(training))) == (len(new), encoding.width)
    assert encoded.sum(axis=1).tolist() == [letter in training for letter in new]
    unknown = encoding.unknown({"letter": np.array(new)})
    assert (unknown is None) == (set(new) <= set(training))


def test_numbers_and_booleans_stay_numbers() -> None:
    encoding = ColumnEncoding.of(COLUMNS)
    assert encoding.encode(COLUMNS).tolist() == [[40, 1, 1, 0], [50, 0, 0, 1]]
    assert ColumnEncoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding


def test_unknown_categories_are_counted() -> None:
    found = ColumnEncoding.of(COLUMNS).unknown({**COLUMNS, "site": np.array(["west", "west", "north"])})
    assert found == "2 images have a 'site' that no training image has ('west'): it counts as none of the known ones"


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"age": [1.0, np.nan], "well": [1, 0], "site": ["a", "b"]}, DatasetError, "'age' has no value for 1 image"),
        ({"age": [1, 2], "well": [1, 0], "site": ["", "b"]}, DatasetError, "'site' has no value for 1 image"),
        (
            {"age": ["old", "3"], "well": [1, 0], "site": ["a", "b"]},
            DatasetError,
            "'age' holds 'old': expected numbers",
        ),
        ({"age": [1, 2], "site": ["a", "b"]}, UnknownNameError, "unknown column 'well'"),
    ],
)
def test_values_that_cannot_be_used(columns: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ColumnEncoding.of(COLUMNS).encode({name: np.array(values) for name, values in columns.items()})


@pytest.mark.parametrize("value", [[["a", 1]], [[1, None]], [["a", [2]]], 3, [["a"]]])
def test_a_damaged_encoding_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ColumnEncoding.from_json(value)
