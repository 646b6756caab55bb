"""Which images to label next: unsure ones, and one of each kind before a second of the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.advice.labelling import POOL, centre_groups, labelling_order


def test_unsure_images_come_first_and_copies_late() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = random.uniform(0, 0.2, (40, 6)).astype(np.float32)
    features[np.arange(40), labels] += 3
    between, other = np.array([2, 2, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 2, 2])
    certain = np.array([3, 0, 0, 0, 0, 0])
    unlabelled = np.stack([certain, between, between, between, other, certain]).astype(np.float32)
    order = labelling_order(features, labels, unlabelled, 2)
    assert sorted(order.rows.tolist()) == list(range(6))
    assert set(order.rows[:2].tolist()) <= {1, 2, 3, 4}
    assert order.groups[:2].tolist() == [1, 2]
    groups = dict(zip(order.rows.tolist(), order.groups.tolist(), strict=True))
    assert groups[1] == groups[2] == groups[3]
    margins = dict(zip(order.rows.tolist(), order.margins.tolist(), strict=True))
    assert margins[0] > margins[1]
    assert order.predicted[order.rows == 0] == [0]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 30))
def test_groups_are_those_of_the_nearest_centre(seed: int, count: int, images: int) -> None:
    """Each group is about its centre, and no image is farther from its centre than centres are from each other."""
    features = np.random.default_rng(seed).random((images, 3))
    members = centre_groups(features, count)
    assert members[0] == 0
    assert set(members.tolist()) == set(range(min(count, images)))
    if count < images:
        radius = min(
            max(np.linalg.norm(features[members == group] - features[members == group][0], axis=1).max()
                for group in set(members.tolist())), 9
        )  # fmt: skip
        assert radius <= 2 * np.linalg.norm(features - features[0], axis=1).max()


def test_the_queue_is_bounded() -> None:
    random = np.random.default_rng(0)
    features, labels = random.random((20, 4)).astype(np.float32), np.arange(20) % 2
    assert len(labelling_order(features, labels, random.random((90, 4)).astype(np.float32), 3).rows) == 3 * POOL
