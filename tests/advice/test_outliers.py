"""Outliers: what is far from all others, whatever its label."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.advice.outliers import outliers


def made(images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(images) % 3
    features = random.uniform(0, 0.3, (images, 12)).astype(np.float32)
    features[np.arange(images), labels] += 4
    return features, labels


def test_what_resembles_nothing_is_found() -> None:
    features, labels = made()
    features[17] = 0
    features[17, 7:] = 3
    found = outliers(features, labels)
    assert found.rows.tolist() == [17]
    assert found.nearest[17] > found.fence
    assert np.median(found.nearest) < found.fence


def test_a_wrong_label_is_no_outlier_but_far_from_its_class() -> None:
    features, labels = made()
    labels[5] = (labels[5] + 1) % 3
    found = outliers(features, labels)
    assert len(found.rows) == 0
    assert found.own[5] > 10 * found.others[5]


def test_distances_are_those_of_the_nearest_images() -> None:
    random = np.random.default_rng(1)
    features, labels = random.random((9, 4)).astype(np.float32), np.array([0] * 8 + [1])
    found = outliers(features, labels)
    unit = np.sqrt(features) / np.linalg.norm(np.sqrt(features), axis=1, keepdims=True)
    distances = np.sort(1 - unit[0] @ np.delete(unit, 0, axis=0).T)
    assert found.nearest[0] == pytest.approx(distances[:5].mean(), abs=1e-6)
    assert np.isnan(found.own[8])
    assert len(found.rows) == 0, "nothing is unusual among nine images"
