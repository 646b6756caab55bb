"""Metrics against scikit-learn's, and against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from featurebank import metrics


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of up to 60 images over up to 8 classes, and labels that may leave classes out."""
    count, classes, seed = draw(st.tuples(st.integers(1, 60), st.integers(2, 8), st.integers(0, 2**32 - 1)))
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, draw(st.sampled_from([0.2, 1.0, 5.0]))), count)
    return probabilities, random.integers(0, draw(st.integers(1, classes)), count)


@given(answers())
@settings(max_examples=60)
def test_scores_are_those_of_scikit_learn(given: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = given
    predicted = probabilities.argmax(1)
    scores = metrics.scores(probabilities, labels)
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert scores["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
    clipped = np.clip(probabilities, 1e-7, 1)
    expected = -np.log(clipped[np.arange(len(labels)), labels]).mean()
    assert scores["loss"] == pytest.approx(expected, abs=1e-6)


def test_log_loss_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(5), 300), random.integers(0, 5, 300)
    assert metrics.log_loss(probabilities, labels) == pytest.approx(sklearn_metrics.log_loss(labels, probabilities))


def test_a_confident_mistake_costs_a_finite_loss() -> None:
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-7))


def score(name: str, probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(metrics.scores(probabilities, labels)[name])


def test_top_5_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(5)
    probabilities, labels = random.dirichlet(np.ones(7), 200), random.integers(0, 7, 200)
    expected = sklearn_metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=np.arange(7))
    assert score("top5_accuracy", probabilities, labels) == pytest.approx(expected)


def test_top_k_of_fewer_classes_than_k_is_1() -> None:
    assert score("top5_accuracy", np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([1, 1])) == 1


def test_calibration_error_is_0_where_confidence_is_accuracy() -> None:
    probabilities = np.tile([0.75, 0.25], (100, 1))
    assert score("calibration_error", probabilities, np.arange(100) % 4 // 3) == pytest.approx(0)


def test_calibration_error_of_certain_answers_is_the_share_of_mistakes() -> None:
    probabilities = np.tile([1.0, 0.0], (10, 1))
    assert score("calibration_error", probabilities, np.array([1] * 3 + [0] * 7)) == pytest.approx(0.3)


def test_calibration_error_weighs_bins_by_their_images() -> None:
    probabilities = np.array([[0.95, 0.05]] * 30 + [[0.55, 0.45]] * 10)
    labels = np.array([0] * 30 + [1] * 10)  # .05 too modest, then .55 too sure
    assert score("calibration_error", probabilities, labels) == pytest.approx((30 * 0.05 + 10 * 0.55) / 40)


def test_scores_with_intervals_hold_their_scores() -> None:
    random = np.random.default_rng(2)
    probabilities, labels = random.dirichlet(np.ones(8), 100), random.integers(0, 8, 100)
    found = metrics.scores_with_intervals(probabilities, labels)
    assert {name: found[name] for name in metrics.scores(probabilities, labels)} == metrics.scores(
        probabilities, labels
    )
    for name in ("accuracy", "top5_accuracy", "loss", "brier", "macro_f1"):
        low, high = found[f"{name}_interval"]
        assert low < found[name] < high


def test_brier_score_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(4)
    probabilities, labels = random.dirichlet(np.ones(5), 300), random.integers(0, 5, 300)
    expected = np.mean(((probabilities - np.eye(5)[labels]) ** 2).sum(1))
    assert score("brier", probabilities, labels) == pytest.approx(expected)
    two = probabilities[:, :2] / probabilities[:, :2].sum(1, keepdims=True)
    known = sklearn_metrics.brier_score_loss(labels % 2, two[:, 1])
    assert score("brier", two, labels % 2) == pytest.approx(2 * known)


def test_recalls_are_those_of_scikit_learn_and_none_where_there_is_no_image() -> None:
    random = np.random.default_rng(5)
    probabilities, labels = random.dirichlet(np.ones(4), 90), random.integers(0, 3, 90)
    *found, nothing = metrics.recalls(probabilities, labels)
    expected = sklearn_metrics.recall_score(labels, probabilities.argmax(1), labels=[0, 1, 2], average=None)
    assert found == pytest.approx(list(expected))
    assert nothing is None
