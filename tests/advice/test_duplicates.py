"""Equal and nearly equal images with different labels."""

from __future__ import annotations

import numpy as np

from featurebank.advice.duplicates import contradicting_pairs


def test_equal_ones_come_first_and_agreement_is_no_pair() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(8, 16)).astype(np.float32)
    features[1] = features[0] + 0.001  # nearly equal, another label
    features[3] = features[2] + 0.001  # nearly equal, the same label
    features[5] = features[4]  # equal, another label
    labels = np.array([0, 1, 0, 0, 0, 1, 0, 1])
    contents = np.array([0, 1, 2, 3, 4, 4, 6, 7])
    pairs = contradicting_pairs(features, labels, contents)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(4, 5), (0, 1)]
    assert (pairs.total, pairs.equal, pairs.capped) == (2, 1, False)
    assert pairs.cosines[0] == 1
    assert 0.98 < pairs.cosines[1] < 1
