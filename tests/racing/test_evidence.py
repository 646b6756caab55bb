"""The evidence of a part: leave-one-out predictions, and LogME against the evidence that it maximises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from featurebank.errors import HeadInputError
from featurebank.racing.evidence import evidence_of, logme


def sample(count: int, width: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    labels = np.arange(count) % 3
    features = rng.normal(size=(count, width)) * noise
    features[:, :3] += np.eye(3)[labels] * 2
    return features.astype(np.float32), labels


@pytest.mark.parametrize(("count", "width"), [(12, 5), (12, 20)])
def test_logme_is_the_largest_evidence_of_a_linear_model(count: int, width: int) -> None:
    features, labels = sample(count, width)
    rows = features.astype(np.float64)

    def evidence(target: np.ndarray) -> float:
        def negative(logs: np.ndarray) -> float:
            covariance = np.eye(count) * np.exp(logs[0]) + rows @ rows.T * np.exp(logs[1])
            return -float(multivariate_normal.logpdf(target, np.zeros(count), covariance))

        return -min(minimize(negative, start, method="Nelder-Mead").fun for start in ([0, 0], [-2, -3])) / count

    expected = np.mean([evidence((labels == label).astype(float)) for label in range(3)])
    assert logme(features, labels) == pytest.approx(expected, abs=2e-3)


def test_better_features_have_better_evidence() -> None:
    good, bad = evidence_of(*sample(60, 30, 0.5)), evidence_of(*sample(60, 30, 3.0))
    assert good.accuracy > bad.accuracy
    assert good.loss < bad.loss
    assert good.logme > bad.logme
    assert good.losses.shape == good.right.shape == (60,)


def test_an_image_is_judged_by_a_head_that_did_not_see_it() -> None:
    """Pure noise with more features than images: heads that see the labels would be right everywhere."""
    rng = np.random.default_rng(0)
    found = evidence_of(rng.normal(size=(60, 200)).astype(np.float32), np.arange(60) % 2)
    assert found.accuracy < 0.75
    assert found.loss > 0.6


def test_groups_of_single_images_change_nothing() -> None:
    features, labels = sample(60, 20)
    alone, grouped = evidence_of(features, labels), evidence_of(features, labels, np.arange(60))
    assert grouped.losses == pytest.approx(alone.losses, abs=1e-3)
    assert (grouped.right == alone.right).all()


def test_an_image_is_judged_without_its_group() -> None:
    """Each group has its own noise, and only that: with its own group in the training, every image is recognised."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4)
    features = np.repeat(rng.normal(size=(20, 50)), 4, axis=0) + 0.01 * rng.normal(size=(80, 50))
    labels = groups % 2
    assert evidence_of(features.astype(np.float32), labels).accuracy == 1
    assert evidence_of(features.astype(np.float32), labels, groups).accuracy < 0.8


def test_one_class_is_refused() -> None:
    with pytest.raises(HeadInputError):
        evidence_of(np.ones((5, 2), np.float32), np.zeros(5, int))
