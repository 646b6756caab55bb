"""Gains of one predictor over another, of images and of groups of images."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.metrics.gains import gain_over
from featurebank.statistics import mcnemar, paired_gain


def test_independent_images_have_the_interval_and_the_test_of_pairs() -> None:
    random = np.random.default_rng(0)
    before, after = random.random(200) < 0.7, random.random(200) < 0.8
    found = gain_over(before, after)
    assert found[:3] == paired_gain(before, after)
    assert found.p_value == mcnemar(int((before & ~after).sum()), int((after & ~before).sum()))


def test_images_of_one_group_are_one_piece_of_evidence() -> None:
    """Of 300 gains of nothing, about as many are significant as the level says; of single images, far more would be."""
    random, significant, naive, covered = np.random.default_rng(1), 0, 0, 0
    for _ in range(300):
        groups = np.repeat(np.arange(40), 10)
        tilt = random.normal(0, 0.3, 40)[groups]
        before, after = random.random(400) < 0.6, random.random(400) < 0.6 + tilt
        found = gain_over(before, after, groups)
        significant += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
        naive += gain_over(before, after).p_value < 0.05
    assert significant < 0.09 * 300 < naive
    assert covered > 0.91 * 300


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(3), 4)])
def test_equal_answers_are_no_gain(groups: np.ndarray | None) -> None:
    right = np.arange(12) % 3 > 0
    found = gain_over(right, right, groups)
    assert found.difference == 0
    assert found.low < 0 < found.high
    assert found.p_value == 1
