"""Intervals and tests of images in groups: they cover the truth and keep their level, also with few groups."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.metrics import METRICS, ImageScores
from featurebank.metrics.group_effects import LEAST_GROUPS, GroupEffects, groups_in_words
from featurebank.metrics.metric import averaged
from featurebank.metrics.significance import confidence_interval, paired_p_value, share_interval
from featurebank.statistics import proportion_interval


def drawn(random: np.random.Generator, count: int, share: float, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns right and wrong answers (n,) for groups of unlike sizes, and their groups."""
    sizes = np.maximum(1, random.lognormal(2, 0.8, count).round()).astype(int)
    groups, scale = np.repeat(np.arange(count), sizes), 1 / correlation - 1
    each = random.beta(share * scale, (1 - share) * scale, count)
    return (random.random(len(groups)) < each[groups]).astype(float), groups


@pytest.mark.parametrize("count", [15, 40])
@pytest.mark.parametrize(("share", "correlation"), [(0.6, 0.3), (0.9, 0.05), (0.9, 0.5), (0.97, 0.3)])
def test_the_interval_of_a_share_covers_it(count: int, share: float, correlation: float) -> None:
    random, covered = np.random.default_rng(3), 0
    for _ in range(1000):
        low, high = share_interval(*drawn(random, count, share, correlation)) or (1.0, 0.0)
        covered += low <= share <= high
    assert 0.925 <= covered / 1000 <= 0.995


@pytest.mark.parametrize("name", ["loss", "macro_f1", "auroc"])
def test_the_intervals_of_other_metrics_cover_them(name: str) -> None:
    random, metric = np.random.default_rng(4), METRICS[name]

    def images(count: int) -> tuple[ImageScores, np.ndarray]:
        groups = np.repeat(np.arange(count), random.integers(1, 12, count))
        labels = random.integers(0, 2, len(groups))
        logits = random.normal(size=(count, 2))[groups] + random.normal(size=(len(groups), 2))
        logits[np.arange(len(groups)), labels] += 1.5
        odds = np.exp(logits)
        return ImageScores.of(odds / odds.sum(axis=1, keepdims=True), labels), groups

    truth, covered = metric.of(images(8000)[0]), 0
    for _ in range(150):
        low, high = confidence_interval(metric, *images(20)) or (1.0, 0.0)
        covered += low <= truth <= high
    assert 0.89 <= covered / 150 <= 0.99


@pytest.mark.parametrize("count", [8, 40])
def test_the_paired_test_keeps_its_level_and_finds_what_differs(count: int) -> None:
    random, rejected = np.random.default_rng(5), np.zeros(2)
    for _ in range(300):
        sizes = np.maximum(1, random.lognormal(2, 0.8, count).round()).astype(int)
        groups = np.repeat(np.arange(count), sizes)
        noise = random.normal(size=count)[groups] + random.normal(size=len(groups))
        for place, shift in enumerate((0.0, 1.5)):
            rejected[place] += (GroupEffects.of_values(noise + shift, groups).p_value() or 0.0) < 0.05
    assert rejected[0] / 300 <= 0.08
    assert rejected[1] / 300 > 0.5


@given(st.lists(st.integers(0, 7), min_size=1, max_size=60), st.integers(0, 2**20), st.integers(2, 4))
def test_effects_are_of_groups_however_these_are_called_and_their_images_copied(
    groups: list[int], seed: int, times: int
) -> None:
    values, codes = np.random.default_rng(seed).integers(0, 2, len(groups)).astype(float), np.array(groups)
    found = GroupEffects.of_values(values, codes)
    copied = GroupEffects.of_values(np.tile(values, times), np.tile(100 - codes, times))
    assert copied.value == pytest.approx(found.value)
    np.testing.assert_allclose(copied.effects[::-1], found.effects)
    assert found.parts.sum() == pytest.approx(found.value)
    interval = found.share_interval()
    assert (interval is None) == (len(set(groups)) < LEAST_GROUPS)
    if interval is not None:
        assert 0 <= interval[0] <= found.value + 1e-12
        assert found.value - 1e-12 <= interval[1] <= 1


def test_a_mean_and_any_other_metric_have_the_same_effects() -> None:
    random = np.random.default_rng(6)
    images = ImageScores.of(random.dirichlet(np.ones(3), 60), random.integers(0, 3, 60))
    groups = random.integers(0, 9, 60)
    fast, slow = averaged("a", lambda i: i.losses), METRICS["loss"]
    slow = type(slow)("b", lambda i: float(i.losses.mean()))
    mine, theirs = (GroupEffects.of(metric, images, groups) for metric in (fast, slow))
    for name in ("effects", "parts", "sizes"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name))


def test_the_effects_on_folds_add_up() -> None:
    """Folds of whole groups say together what the same images say at once, if folds are of equal size."""
    random = np.random.default_rng(7)
    values, groups = random.normal(size=80), np.repeat(np.arange(20), 4)
    halves = [GroupEffects.of_values(values[part], groups[part]) for part in (slice(40), slice(40, None))]
    found = GroupEffects.joined(halves * 3, [1 / 6] * 6, repeats=3)
    assert found.value == pytest.approx(values.mean())
    assert (found.groups, found.sizes.sum()) == (20, 80)
    assert sqrt(found.variance) == pytest.approx(sqrt(GroupEffects.of_values(values, groups).variance), rel=0.2)


def test_too_few_groups_have_neither_an_interval_nor_a_test() -> None:
    values, groups = np.tile([1.0, 0.0, 1.0], 4), np.repeat(np.arange(4), 3)
    assert share_interval(values, groups) is None
    images = ImageScores.of(np.random.default_rng(8).dirichlet(np.ones(2), 12), np.arange(12) % 2)
    assert confidence_interval(METRICS["loss"], images, groups) is None
    assert paired_p_value(METRICS["loss"], images, images, groups) is None
    assert groups_in_words(1) == "1 group, which is too few for an interval"


def test_an_interval_is_no_wider_than_if_each_group_had_one_answer() -> None:
    values, groups = np.repeat([1.0] * 14 + [0.0], 6), np.repeat(np.arange(15), 6)
    low, high = share_interval(values, groups) or (0.0, 1.0)
    least, most = proportion_interval(14 / 15, 15)
    assert (low, high) == pytest.approx((least, most), abs=0.05)
    assert low >= least
    assert high <= most
