"""Bootstrap samples: reproducible, as wide as theory says, and of whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.metrics import METRICS, ImageScores, Metric
from featurebank.metrics.resampling import Resamples, affordable

NAMES = [metric.name for metric in METRICS.values() if metric.interval]


def answers(seed: int, count: int = 50, classes: int = 4) -> ImageScores:
    random = np.random.default_rng(seed)
    return ImageScores.of(random.dirichlet(np.ones(classes), count).round(2), random.integers(0, classes, count))


def test_samples_are_reproducible_and_follow_their_seed() -> None:
    images, loss = answers(0), METRICS["loss"]
    first = Resamples(50, samples=200).values(loss, images)
    np.testing.assert_array_equal(first, Resamples(50, samples=200).values(loss, images))
    assert not np.array_equal(first, Resamples(50, samples=200, seed=1).values(loss, images))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("groups", [None, np.arange(50) // 5], ids=["images", "groups"])
def test_values_are_those_of_the_metric_of_each_sample(name: str, groups: np.ndarray | None) -> None:
    """Weights, means and repeated images are three ways to the same value."""
    images, metric = answers(3), METRICS[name]
    resamples = Resamples(50, groups, samples=12, seed=7)
    rows = [np.repeat(np.arange(50), row.astype(int)) for block in resamples.weights() for row in block]
    expected = [metric.of(images.select(row)) for row in rows]
    assert resamples.values(metric, images) == pytest.approx(expected)
    alone = Metric("made", metric.of)  # a metric that is no more than its function
    assert resamples.values(alone, images) == pytest.approx(expected)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_a_group_is_drawn_whole(groups: list[int], seed: int) -> None:
    codes = np.array(groups)
    resamples = Resamples(len(codes), codes, samples=3, seed=seed)
    (weights,) = resamples.weights()
    for row in weights:
        times = [set(row[codes == code].tolist()) for code in set(groups)]
        assert all(len(of_group) == 1 for of_group in times)
        assert sum(of_group.pop() for of_group in times) == resamples.units == len(set(groups))


def test_the_spread_of_means_is_the_standard_error() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=2000)
    spread = Resamples(2000, samples=500).means(values).std()
    assert spread == pytest.approx(values.std() / np.sqrt(2000), rel=0.15)


def test_groups_of_equal_images_are_as_uncertain_as_one_image_each() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=100)
    alone = Resamples(100, samples=2000).means(values).std()
    repeated = Resamples(1000, np.repeat(np.arange(100), 10), samples=2000).means(np.repeat(values, 10)).std()
    assert repeated == pytest.approx(alone, rel=0.1)


def test_images_that_do_not_count_are_left_out_and_a_sample_without_others_is_undefined() -> None:
    means = Resamples(3, samples=200).means(np.array([1.0, np.nan, np.nan]))
    assert np.isnan(means).any()
    assert set(means[~np.isnan(means)]) == {1.0}


def test_costly_metrics_get_fewer_samples() -> None:
    assert affordable(METRICS["accuracy"], 10**6, 1000) == 1000
    assert affordable(METRICS["auroc"], 500, 10) == 1000
    assert affordable(METRICS["auroc"], 10**5, 1000) == 100
