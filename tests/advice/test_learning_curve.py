"""Learning curves: what half of the images say of all of them, and when more images would not help."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.advice.learning_curve import fitted_curve, learning_curve, subset_sizes
from featurebank.errors import HeadInputError
from featurebank.heads.exact.kernel_left_out import STEPS, kernel_left_out, rbf_distances


def blobs(images: int, noise: float, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(images)
    labels = random.integers(0, classes, images)
    features = random.normal(0, noise, (images, 24))
    features[np.arange(images), labels] += 4
    return np.abs(features).astype(np.float32), labels


def left_out_error(features: np.ndarray, labels: np.ndarray) -> float:
    distances, gamma = rbf_distances(STEPS.rows(features))
    return float((kernel_left_out(np.exp(-gamma * distances), labels, 4).logits.argmax(axis=1) != labels).mean())


def test_half_of_the_images_forecast_the_error_of_all() -> None:
    features, labels = blobs(240, 2.0)
    error, hits = left_out_error(features, labels), 0
    for draw in range(6):
        rows = np.random.default_rng(draw).choice(240, 120, replace=False)
        forecast = learning_curve(features[rows], labels[rows]).forecast(240)
        assert forecast.more == 120
        assert forecast.gain_interval[0] <= forecast.gain <= forecast.gain_interval[1]
        hits += forecast.interval[0] <= error <= forecast.interval[1]
    assert hits >= 5


def test_classes_that_are_learnt_need_no_more_images() -> None:
    forecast = learning_curve(*blobs(240, 0.7)).forecast(480)
    assert forecast.gain_interval[1] < 0.02
    assert forecast.error < 0.02
    assert forecast.interval[1] > 0.015, "240 images without an error do not prove that there is none"


def test_labels_that_mean_nothing_promise_nothing() -> None:
    features, labels = blobs(240, 2.0)
    curve = learning_curve(features, np.random.default_rng(0).permutation(labels))
    assert curve.errors[-1] > 0.6
    assert curve.forecast(480).error > 0.6


def test_the_curve_falls_where_measurements_fall() -> None:
    """The measurements are those of the wrong answers that are handed over."""
    random = np.random.default_rng(0)
    sizes = subset_sizes(400)
    shares = 0.05 + 2 / sizes**0.8
    answers = [random.random((4, 4000)) < share for share in shares]
    curve = fitted_curve(sizes, answers)
    assert curve.errors == pytest.approx(shares, abs=0.02)
    assert curve.forecast(800).error == pytest.approx(0.05 + 2 / 800**0.8, abs=0.01)
    assert curve.misfit < 0.01
    later = curve.forecast(1600, 800)
    assert later.more == 800
    assert later.gain == pytest.approx(2 / 800**0.8 - 2 / 1600**0.8, abs=0.003)


def test_the_smallest_subset_has_two_groups() -> None:
    groups = np.repeat(np.arange(8), 20)
    assert subset_sizes(160, groups)[0] == 26
    with pytest.raises(HeadInputError, match="largest of the groups has 80 of 160 images"):
        subset_sizes(160, np.repeat([0, 1], 80))


def test_sizes_grow_by_one_factor_up_to_all_images() -> None:
    sizes = subset_sizes(800)
    assert (sizes[0], sizes[-1]) == (100, 800)
    assert np.ptp(sizes[1:] / sizes[:-1]) < 0.02


def test_the_approximate_head_draws_the_same_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(200, 2.0)
    exact = learning_curve(features, labels)
    monkeypatch.setattr("featurebank.advice.learning_curve.KERNEL_IMAGES", 100)
    monkeypatch.setattr("featurebank.advice.learning_curve.LANDMARKS", 150)
    approximate = learning_curve(features, labels)
    assert approximate.errors == pytest.approx(exact.errors, abs=0.06)
    assert approximate.sizes.tolist() == exact.sizes.tolist()


def test_groups_are_learnt_and_left_out_as_a_whole() -> None:
    """Four photos of each object: by the image they are known, by the object the class is not."""
    random = np.random.default_rng(0)
    groups = np.arange(160) // 4
    labels = random.integers(0, 4, 40)[groups]
    features = np.abs(random.normal(size=(40, 24))[groups] + random.normal(0, 0.05, (160, 24))).astype(np.float32)
    mixed = random.permutation(160)
    features, labels, groups = features[mixed], labels[mixed], groups[mixed]
    assert learning_curve(features, labels).errors[-1] < 0.1
    curve = learning_curve(features, labels, groups)
    assert curve.errors[-1] > 0.5
    assert curve.forecast(320).interval[1] - curve.forecast(320).interval[0] > 0.1
