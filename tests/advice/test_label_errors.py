"""Doubtful labels: those that were changed are found, and others are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.advice.label_errors import (
    KERNEL_IMAGES,
    confident_classes,
    doubtful_labels,
    most_images,
    out_of_sample,
)
from featurebank.heads.exact.shared import Shared


def clusters(noise: float, images: int = 240, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    features = random.normal(0, noise, (images, 16)).astype(np.float32)
    features[np.arange(images), labels] += 4
    return features, labels


@pytest.mark.parametrize(("noise", "precision", "recall"), [(0.8, 0.95, 0.4), (1.5, 0.9, 0.35)])
def test_changed_labels_are_doubted(noise: float, precision: float, recall: float) -> None:
    features, labels = clusters(noise)
    changed = np.random.default_rng(1).choice(len(labels), 24, replace=False)
    wrong = labels.copy()
    wrong[changed] = (wrong[changed] + 1) % 4
    result = doubtful_labels(features, wrong)
    hits = np.isin(result.rows, changed)
    assert hits.mean() >= precision
    assert hits.sum() >= recall * len(changed)
    assert np.isin(result.rows[:5], changed).all(), "the most doubtful come first"
    assert (result.suggested[hits] == labels[result.rows[hits]]).mean() > 0.9


def test_correct_labels_of_clear_classes_are_not_doubted() -> None:
    result = doubtful_labels(*clusters(0.8))
    assert len(result.rows) == 0
    assert result.accuracy == 1


def test_each_image_is_predicted_without_its_own_label() -> None:
    """Labels that are random numbers cannot be predicted, however many features there are to memorise them by."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 100)
    probabilities = out_of_sample(Shared(random.normal(size=(100, 400)).astype(np.float32), labels))
    assert (probabilities.argmax(axis=1) == labels).mean() < 0.7
    assert probabilities.sum(axis=1) == pytest.approx(1)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_the_surest_class_reaches_its_threshold(seed: int, classes: int) -> None:
    """The definition of confident learning, image by image."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), random.integers(0, classes, 20)]
    probabilities = random.dirichlet(np.ones(classes), len(labels))
    thresholds = [probabilities[labels == label, label].mean() for label in range(classes)]
    for row, surely in zip(probabilities, confident_classes(probabilities, labels), strict=True):
        above = [label for label in range(classes) if row[label] >= thresholds[label]]
        assert surely == (max(above, key=lambda label: row[label]) if above else -1)


def test_the_work_is_bounded() -> None:
    for width in (8, 512, 2048, 100_000):
        images = most_images(width, 10)
        assert images <= KERNEL_IMAGES or images * width * min(images, width) <= 1.01e10
    assert most_images(8, 100_000) < 400


def test_the_ranking_has_all_images() -> None:
    """Whoever checks more labels than are doubted goes on with the least probable ones."""
    features, labels = clusters(0.8)
    wrong = labels.copy()
    wrong[:24] = (wrong[:24] + 1) % 4
    result = doubtful_labels(features, wrong)
    assert sorted(result.ranking) == list(range(len(labels)))
    assert np.isin(result.ranking[:24], np.arange(24)).mean() > 0.9
    assert (np.diff(result.beliefs[result.ranking]) >= 0).all()
    assert result.ranking[: len(result.rows)].tolist() == result.rows.tolist()


def test_a_group_is_predicted_without_itself() -> None:
    """Ten photos of one object with one wrong label vouch for each other, unless they are left out together."""
    features, labels = clusters(0.8)
    features[:10], wrong, groups = features[0] + np.arange(10)[:, None] / 1000, labels.copy(), np.arange(len(labels))
    wrong[:10], groups[:10] = (labels[0] + 1) % 4, 0
    alone, together = doubtful_labels(features, wrong), doubtful_labels(features, wrong, groups)
    assert alone.beliefs[:10].min() > 0.5
    assert together.beliefs[:10].max() < 0.1
