"""What is measured on labelled images: exactly counted where it can be, and honest by cross-fitting."""

from __future__ import annotations

import numpy as np
import pytest
from unsure_models import simulated

from featurebank.certainty.measured import crossfitted, measured, risk_curve
from featurebank.certainty.record import Certainty
from featurebank.errors import ConfigError


def test_it_counts() -> None:
    probabilities = np.array([[0.9, 0.1]] * 60 + [[0.6, 0.4]] * 40)
    labels = np.array([0] * 80 + [1] * 20)
    result = measured(
        Certainty.of(probabilities, labels), probabilities, labels, coverages=(0.7, 0.9), errors=(0.02, 0.001)
    )
    first, second = result.sets
    assert (first.coverage, first.size, first.empty) == (0.8, 1.0, 0.0)
    assert (second.coverage, second.size) == (1.0, 1.4)
    answered, nothing = result.answers
    assert (answered.share, answered.error) == (0.6, 0.0)
    assert (nothing.share, nothing.error, nothing.interval) == (0.0, None, None)
    assert result.curve == ((0.6, 0.0), (1.0, 0.2))
    assert result.to_dict()["sets"][0]["target"] == 0.7
    assert "error 0.001: nothing answered" in repr(result)


def test_cross_fitting_measures_what_new_images_would_give() -> None:
    random = np.random.default_rng(0)
    found = [crossfitted(*simulated(random, 300), coverages=(0.9,)).sets[0].coverage for _ in range(40)]
    assert np.mean(found) == pytest.approx(0.9, abs=0.01)


def test_groups_stay_together() -> None:
    probabilities, labels = simulated(np.random.default_rng(0), 60)
    copies, groups = np.repeat(np.arange(60), 4), np.repeat(np.arange(60), 4)
    together = crossfitted(probabilities[copies], labels[copies], groups=groups, coverages=(0.9,)).sets[0]
    assert together.coverage == crossfitted(probabilities, labels, coverages=(0.9,)).sets[0].coverage
    with pytest.raises(ConfigError, match="needs two images of different groups"):
        crossfitted(probabilities, labels, groups=np.zeros(60))


def test_the_curve_ends_at_the_error_of_all_images() -> None:
    probabilities, labels = simulated(np.random.default_rng(0), 5000)
    curve = risk_curve(probabilities, labels)
    assert len(curve) == 200
    assert curve[-1] == (1.0, pytest.approx((probabilities.argmax(axis=1) != labels).mean()))
    shares = [share for share, _ in curve]
    assert shares == sorted(shares)


def test_intervals_count_groups() -> None:
    random = np.random.default_rng(11)
    probabilities, labels = random.dirichlet(np.ones(3), 60), random.integers(0, 3, 60)
    many, codes = np.repeat(np.arange(60), 10), np.repeat(np.arange(60), 10)
    certainty = Certainty.of(probabilities, labels)
    alone = measured(certainty, probabilities, labels)
    copied = measured(certainty, probabilities[many], labels[many], groups=codes)
    few = measured(certainty, probabilities, labels, groups=np.arange(60) % 3)
    for one, same, none in zip(alone.sets, copied.sets, few.sets, strict=True):
        assert same.coverage == pytest.approx(one.coverage)
        assert same.interval[1] - same.interval[0] == pytest.approx(one.interval[1] - one.interval[0], rel=0.25)
        assert none.interval == (0.0, 1.0)
