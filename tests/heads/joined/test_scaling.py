"""Each part of joined features has the same weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.heads.joined.encoding import ColumnEncoding
from featurebank.heads.joined.scaling import JoinedScaling


@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 9), cut=st.integers(1, 39),
    offset=st.sampled_from([0.0, 1e4]),
)  # fmt: skip
def test_parts_weigh_the_same_whatever_their_widths(widths: list[int], seed: int, cut: int, offset: float) -> None:
    random = np.random.default_rng(seed)
    X = (random.normal(0, 1, (40, sum(widths))) * random.uniform(0.1, 90, sum(widths)) + offset).astype(np.float32)
    scaling = JoinedScaling.fit([X[:cut], X[cut:]], [("tap", width) for width in widths])
    scaled = scaling.apply(X)
    norms = [(part**2).sum(axis=1).mean() for part in np.split(scaled, np.cumsum(widths)[:-1], axis=1)]
    assert norms == pytest.approx([sum(widths) / len(widths)] * len(widths), rel=2e-2)
    assert np.abs(scaled.mean(axis=0)).max() < 2e-2
    whole = JoinedScaling.fit([X], [("tap", width) for width in widths])
    assert np.allclose(whole.mean, scaling.mean)
    assert np.allclose(whole.factor, scaling.factor, rtol=1e-3)


def test_constant_features_are_zero_and_do_not_count() -> None:
    X = np.array([[1, 7, 3, 1e6], [3, 7, 5, 1e6 + 0.06]], np.float32)
    scaling = JoinedScaling.fit([X], [("a", 2), ("b", 2)])
    assert scaling.apply(X).tolist() == [[-1, 0, -1, 0], [1, 0, 1, 0]]


def test_a_column_counts_as_one_feature_and_a_category_is_0_or_1() -> None:
    columns = {"age": np.array([10, 30, 10, 30]), "site": np.array(["a", "b", "c", "a"])}
    encoding = ColumnEncoding.of(columns)
    X = np.concatenate([np.array([[1], [2], [2], [1]], np.float32), encoding.encode(columns)], axis=1)
    scaled = JoinedScaling.fit([X], [("pooled", 1)], encoding).apply(X)
    assert np.allclose((scaled[:, 0] ** 2).mean(), (scaled[:, 1:] ** 2).sum(axis=1).mean())
    assert set(np.unique(scaled[:, 2:] > 0)) == {False, True}
    assert scaled[:, 2:].min() == 0


def test_features_of_one_tap_keep_their_proportions() -> None:
    X = np.random.default_rng(0).normal(3, 5, (50, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32)
    scaled = JoinedScaling.fit([X], [("a", 4), ("b", 2)]).apply(X)
    ratios = scaled.std(axis=0) / X.std(axis=0)
    assert ratios[:4] == pytest.approx(np.full(4, ratios[0]), rel=1e-4)
    assert ratios[4:] == pytest.approx(np.full(2, ratios[4]), rel=1e-4)
