"""Tables of scores: the rank of conformal prediction, groups as units, and a bounded size."""

from __future__ import annotations

import json
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.certainty.scores import MOST, ScoreTable, doubts, numbers, shares_of

SHARES = st.floats(0.01, 0.99)


@given(st.integers(1, 200), SHARES, st.integers(0, 9))
def test_the_limit_is_the_value_at_the_rank_of_conformal_prediction(count: int, share: float, seed: int) -> None:
    scores = np.random.default_rng(seed).random(count)
    rank = ceil((count + 1) * share - 1e-9)
    limit = ScoreTable.of(scores).limit(share)
    assert limit == (pytest.approx(np.sort(scores)[rank - 1], rel=1e-6) if rank <= count else np.inf)


@given(st.integers(1, 60), SHARES, st.integers(0, 9))
def test_groups_of_one_image_are_no_groups_and_copies_of_a_group_change_nothing(
    count: int, share: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).random(count)
    alone = ScoreTable.of(scores)
    assert ScoreTable.of(scores, np.arange(count)).limit(share) == alone.limit(share)
    copies = ScoreTable.of(np.repeat(scores, 7), np.repeat(np.arange(count), 7))
    assert copies.limit(share) == alone.limit(share)


def test_a_large_group_is_one_unit() -> None:
    scores, groups = np.append(np.zeros(19), np.full(1000, 9.0)), np.append(np.arange(19), np.full(1000, 19))
    assert ScoreTable.of(scores, groups).limit(0.9) == 0
    assert ScoreTable.of(scores).limit(0.9) == 9
    weights, units = shares_of(1019, groups)
    assert (units, weights.sum()) == (20, pytest.approx(20))


@pytest.mark.parametrize("count", [MOST + 1, 50_000])
def test_a_table_of_many_scores_is_small_and_errs_only_towards_more_coverage(count: int) -> None:
    scores = np.random.default_rng(0).random(count) ** 4
    table = ScoreTable.of(scores)
    assert len(table.values) <= MOST
    for share in (0.5, 0.9, 0.99, 0.999, count / (count + 1)):
        covered = (scores <= table.limit(share) * (1 + 1e-6)).mean()
        assert share - 1e-6 <= covered * (1 + 1 / count) <= share + 2e-3


def test_a_table_is_read_as_it_was_written_and_a_damaged_one_is_not() -> None:
    table = ScoreTable.of(np.random.default_rng(0).random(50))
    value = json.loads(json.dumps(table.to_json()))
    again = ScoreTable.from_json(value)
    np.testing.assert_array_equal(again.values, table.values)
    assert again.limit(0.9) == table.limit(0.9)
    for wrong in (
        {"values": [2.0, 1.0], "mass": [0.1, 0.2]},
        {"values": [1.0], "mass": [0.1, 0.2]},
        {"values": [1.0], "mass": [1.5]},
        {"values": [float("nan")], "mass": [0.5]},
        {"values": "12", "mass": [0.5]},
        {"values": [True], "mass": [0.5]},
        {"values": [0.0] * (MOST + 1), "mass": [0.5] * (MOST + 1)},
    ):
        with pytest.raises(ValueError, match=r"numbers|scores"):
            ScoreTable.from_json(wrong)
    with pytest.raises(ValueError, match="a list of numbers"):
        numbers({"a": 1})


def test_doubts_of_sure_predictions_stay_in_order() -> None:
    rows = np.array([[1.0, 1e-12], [1.0, 1e-9], [0.5, 0.5]])
    np.testing.assert_allclose(doubts(rows)[:, 0], np.log([1e-12, 1e-9, 1.0]), atol=1e-8)
    np.testing.assert_allclose(doubts(rows)[:, 1], -doubts(rows)[:, 0])
