"""Intervals and tests: against tables, scipy and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank import statistics


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Wilson's interval without continuity correction, as statsmodels' proportion_confint(method="wilson") gives it.
    [
        (100, 100, 0.9630065, 1.0),
        (0, 10, 0.0, 0.2775328),
        (5, 10, 0.2365931, 0.7634069),
        (81, 263, 0.2552747, 0.3661682),
    ],
)
def test_wilson_interval(right: int, count: int, low: float, high: float) -> None:
    assert statistics.proportion_interval(right / count, count) == pytest.approx((low, high), abs=1e-4)


def test_an_interval_of_nothing_says_nothing() -> None:
    assert statistics.proportion_interval(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    # The first are the numbers of Bentur et al. in Fagerland, Lydersen, Laake 2013, whose mid-p they give as .039.
    [(1, 7, 0.0390625), (0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.03125), (7, 1, 0.0390625), (4.6, 0.4, 0.03125)],
)
def test_mcnemar(first: float, second: float, p: float) -> None:
    assert statistics.mcnemar(first, second) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60)
def test_mcnemar_is_the_exact_test_less_half_of_what_is_as_likely(first: int, second: int) -> None:
    from scipy.stats import binom, binomtest

    less, count = min(first, second), first + second
    exact = binomtest(less, count).pvalue if count else 1.0
    expected = 1.0 if first == second else exact - binom.pmf(less, count, 0.5)
    assert statistics.mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_many_images() -> None:
    assert statistics.mcnemar(50_000, 50_000) == pytest.approx(1)
    assert statistics.mcnemar(40_000, 50_000) == pytest.approx(0, abs=1e-100)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_the_interval_of_a_mean_is_students() -> None:
    from scipy import stats

    values = [0.91, 0.93, 0.88, 0.9]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert statistics.mean_interval(values) == pytest.approx((expected.low, expected.high))


def test_paired_gain() -> None:
    first, second = np.zeros((2, 100), bool)
    first[:60], second[5:75] = True, True
    difference, low, high = statistics.paired_gain(first, second)
    assert difference == pytest.approx(0.1)
    more, less = 16 / 102, 6 / 102  # Bonett and Price, with one more image for each way to differ
    half = 1.959964 * np.sqrt((more + less - (more - less) ** 2) / 102)
    assert (low, high) == pytest.approx((more - less - half, more - less + half))
    assert statistics.paired_gain(second, first) == pytest.approx((-difference, -high, -low))
    same = statistics.paired_gain(first, first)
    assert same[0] == 0
    assert same[1] < 0 < same[2], "no difference among a hundred is not none among all"


def test_the_interval_of_a_gain_keeps_its_level() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        kinds = rng.choice(4, 80, p=[0.6, 0.1, 0.08, 0.22])  # both right, the second alone, the first alone, none
        _, low, high = statistics.paired_gain(np.isin(kinds, [0, 2]), np.isin(kinds, [0, 1]))
        inside += low <= 0.02 <= high
    assert inside >= 935


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_calibration_bins_hold_each_prediction_once(answers: list[tuple[float, bool]], count: int) -> None:
    confidence, right = (np.array(column) for column in zip(*answers, strict=True))
    bins = statistics.CalibrationBins.of(confidence, right, count)
    assert bins.images.sum() == len(answers)
    assert np.nansum(bins.images * bins.accuracy) == pytest.approx(right.sum())
    assert np.nansum(bins.images * bins.confidence) == pytest.approx(confidence.sum())
    assert 0 <= bins.error <= 1


def test_two_sided_p_values_are_those_of_scipy() -> None:
    from scipy.stats import t

    for ratio, degrees in ((0.0, 3), (1.5, 4), (-2.5, 30), (12.0, 7)):
        assert statistics.two_sided(ratio, degrees) == pytest.approx(2 * t.sf(abs(ratio), degrees))
