"""Metrics that are no means over images: against scikit-learn, whatever the weights and ties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from featurebank.metrics import METRICS, ImageScores, formulas


@st.composite
def weighted_answers(draw: st.DrawFn) -> tuple[ImageScores, np.ndarray]:
    """Up to 60 images over up to 6 classes, with ties, classes without images, and weights that may be 0."""
    count, classes, seed = draw(st.tuples(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**32 - 1)))
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), count).round(draw(st.integers(1, 4)))
    labels = random.integers(0, draw(st.integers(1, classes)), count)
    return ImageScores.of(probabilities, labels), random.integers(0, draw(st.integers(1, 4)), (3, count)).astype(float)


def by_class(function: Callable[..., float], images: ImageScores, weights: np.ndarray, *, both: bool) -> float:
    """The mean of a binary metric of scikit-learn over the classes with images, and with others if `both`."""
    values = []
    for place in range(images.classes):
        positive = (images.labels == place) & (weights > 0)
        others = (images.labels != place) & (weights > 0)
        if positive.any() and (others.any() or not both):
            used = weights > 0
            assert images.probabilities is not None
            values.append(
                function(images.labels[used] == place, images.probabilities[used, place], sample_weight=weights[used])
            )
    return float(np.mean(values)) if values else float("nan")


@given(weighted_answers())
@settings(max_examples=60)
def test_curves_are_those_of_scikit_learn(given: tuple[ImageScores, np.ndarray]) -> None:
    images, weights = given
    areas, precisions = formulas.auroc(images, weights), formulas.average_precision(images, weights)
    for row, area, precision in zip(weights, areas, precisions, strict=True):
        assert area == pytest.approx(by_class(sklearn_metrics.roc_auc_score, images, row, both=True), nan_ok=True)
        expected = by_class(sklearn_metrics.average_precision_score, images, row, both=False)
        assert precision == pytest.approx(expected, nan_ok=True)


@given(weighted_answers())
@settings(max_examples=60)
def test_recalls_and_f1_are_those_of_scikit_learn(given: tuple[ImageScores, np.ndarray]) -> None:
    images, weights = given
    recalls, scores = formulas.balanced_accuracy(images, weights), formulas.macro_f1(images, weights)
    for row, recall, score in zip(weights, recalls, scores, strict=True):
        if not row.any():
            assert np.isnan(recall)
            assert np.isnan(score)
            continue
        labels, predicted = (np.repeat(part, row.astype(int)) for part in (images.labels, images.predicted))
        assert score == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
        each = sklearn_metrics.recall_score(labels, predicted, labels=np.unique(labels), average=None)
        assert recall == pytest.approx(each.mean())


def test_auroc_of_all_classes_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(4), 200), random.integers(0, 4, 200)
    found = METRICS["auroc"].of(ImageScores.of(probabilities, labels))
    assert found == pytest.approx(sklearn_metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))


def test_auroc_of_one_class_is_not_defined() -> None:
    images = ImageScores.of(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    assert np.isnan(METRICS["auroc"].of(images))
