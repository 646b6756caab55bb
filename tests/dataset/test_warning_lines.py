"""What is doubtful about a dataset is said in one line each."""

from __future__ import annotations

import numpy as np

from featurebank.dataset.warning_lines import group_lines


def test_few_groups_and_groups_torn_by_given_splits() -> None:
    parts, splits = np.repeat(np.arange(40), 2), np.repeat(np.r_[[0] * 25, [1] * 12, [2] * 3], 2)
    (few,) = group_lines(parts, splits)
    assert few.startswith("few groups to measure on (test 3)")
    splits[0] = 1
    lines = " ".join(group_lines(parts, splits))
    assert "the given splits separate images with the same content (1 group with such copies)" in lines
    assert list(group_lines(np.arange(40), np.repeat([0, 1], 20))) == []
