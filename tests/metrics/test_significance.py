"""Intervals and paired tests: exact where they can be, and with the promised level by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.metrics import METRICS, ImageScores, metric_of
from featurebank.metrics.significance import (
    confidence_interval,
    difference_p_value,
    paired_p_value,
    percentile_interval,
    share_interval,
)
from featurebank.statistics import mcnemar, proportion_interval

ACCURACY, LOSS = METRICS["accuracy"], METRICS["loss"]


def answers(seed: int, count: int = 80, classes: int = 3, labels: np.ndarray | None = None) -> ImageScores:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count) if labels is None else labels
    return ImageScores.of(random.dirichlet(np.ones(classes), len(labels)), labels)


def test_shares_have_wilsons_interval_and_mcnemars_test() -> None:
    first = answers(0)
    second = answers(1, labels=first.labels)
    assert confidence_interval(ACCURACY, first) == proportion_interval(ACCURACY.of(first), 80)
    only_first, only_second = (int((a.right & ~b.right).sum()) for a, b in ((first, second), (second, first)))
    assert paired_p_value(ACCURACY, first, second) == mcnemar(only_first, only_second)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.interval])
def test_every_metric_has_an_interval_around_its_value_and_a_test(name: str) -> None:
    metric, first = METRICS[name], answers(2, classes=7)
    low, high = confidence_interval(metric, first) or (np.nan, np.nan)
    assert low < metric.of(first) < high
    right = ImageScores.of(np.eye(7)[first.labels] * 0.9 + 0.1 / 7, first.labels)
    p_value = paired_p_value(metric, first, right)
    assert p_value is not None
    assert p_value < 1e-4
    assert paired_p_value(metric, first, first) == 1
    assert paired_p_value(metric, right, first) == pytest.approx(p_value)


def test_a_metric_without_interval_has_none() -> None:
    assert confidence_interval(METRICS["calibration_error"], answers(0)) is None


def test_groups_of_copies_are_no_more_certain_than_their_images() -> None:
    """Ten copies of each image say nothing new, and only the tests by group know it."""
    first, copies, groups = answers(3), np.repeat(np.arange(80), 10), np.repeat(np.arange(80), 10)
    second = answers(4, labels=first.labels)
    for metric in (ACCURACY, LOSS):
        low, high = confidence_interval(metric, first) or (0, 0)
        below, above = confidence_interval(metric, first.select(copies), groups) or (0, 0)
        assert above - below == pytest.approx(high - low, rel=0.15)
        alone = paired_p_value(metric, first, second)
        by_group = paired_p_value(metric, first.select(copies), second.select(copies), groups)
        by_image = paired_p_value(metric, first.select(copies), second.select(copies))
        assert alone is not None
        assert by_group is not None
        assert by_image is not None
        assert by_group == pytest.approx(alone, abs=0.08)
        assert by_image < by_group


def test_groups_that_are_all_right_are_as_certain_as_their_number_allows() -> None:
    assert share_interval(np.ones(40), np.arange(40) // 4) == proportion_interval(1.0, 10)


@pytest.mark.parametrize("groups", [None, np.arange(60) // 3], ids=["images", "groups"])
def test_the_test_keeps_its_level(groups: np.ndarray | None) -> None:
    """Of 400 pairs that differ by chance alone, about 5 % are called different; so are more that really differ."""
    random = np.random.default_rng(5)
    rejected = np.zeros(2)
    for _ in range(400):
        noise = random.normal(size=60) if groups is None else random.normal(size=20)[groups] + random.normal(size=60)
        for place, shift in enumerate((0.0, 1.0)):
            draws = (noise + shift)[random.integers(0, 60, (200, 60))].mean(axis=1)
            if groups is not None:
                means = (noise + shift).reshape(20, 3).mean(axis=1)
                draws = means[random.integers(0, 20, (200, 20))].mean(axis=1)
            p_value = difference_p_value(float((noise + shift).mean()), draws, 60 if groups is None else 20)
            rejected[place] += (p_value or 0) < 0.05
    assert 0.025 <= rejected[0] / 400 <= 0.085
    assert rejected[1] / 400 > 0.6


def test_an_undefined_difference_has_no_p_value_and_no_interval() -> None:
    assert difference_p_value(float("nan"), np.ones(5), 3) is None
    assert difference_p_value(1.0, np.full(5, np.nan), 3) is None
    assert percentile_interval(np.full(5, np.nan)) is None


def test_a_difference_that_is_the_same_for_all_images_is_as_unlikely_as_their_number_says() -> None:
    assert difference_p_value(0.5, np.full(9, 0.5), 6) == 2 * 0.5**6
    assert difference_p_value(0.0, np.zeros(9), 6) == 1


def test_only_images_of_the_class_count_for_its_recall() -> None:
    labels, groups = np.r_[1, np.zeros(59, int)], np.arange(60) // 2
    found, missed = (
        ImageScores.of(np.c_[1 - second, second], labels) for second in (labels * 0.9, np.zeros(60))
    )  # fmt: skip
    recall = metric_of("recall:rare", ("usual", "rare"))
    assert confidence_interval(recall, found) == proportion_interval(1.0, 1)
    assert (paired_p_value(recall, found, missed) or 0.0) >= 0.5, "one image proves nothing"
    assert confidence_interval(recall, found, groups) is None, "one group has no interval"
    assert paired_p_value(recall, found, missed, groups) is None
