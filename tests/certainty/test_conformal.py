"""Sets of classes hold the true class as often as asked, whatever the model is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unsure_models import simulated

from featurebank.certainty.conformal import class_sets, doubt_table
from featurebank.certainty.scores import ScoreTable
from featurebank.errors import ConfigError


@pytest.mark.parametrize("asked", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("calibration", [39, 400])
def test_the_coverage_is_what_was_asked_for_even_of_a_model_that_is_too_sure(asked: float, calibration: int) -> None:
    random, coverages = np.random.default_rng(0), []
    for _ in range(300):
        probabilities, labels = simulated(random, calibration + 100)
        table = doubt_table(probabilities[:calibration], labels[:calibration])
        inside = class_sets(probabilities[calibration:], table, asked)
        coverages.append(inside[np.arange(100), labels[calibration:]].mean())
    assert asked - 0.01 < np.mean(coverages) < asked + 0.01 + 1 / calibration


def test_a_model_that_is_sure_of_everything_has_small_sets_all_the_same() -> None:
    random, coverages, sizes = np.random.default_rng(0), [], []
    for _ in range(100):
        probabilities, labels = simulated(random, 500)
        sure = probabilities**8  # most are 0 or 1 to seven digits
        sure /= sure.sum(axis=1, keepdims=True)
        inside = class_sets(sure[400:], doubt_table(sure[:400], labels[:400]), 0.95)
        coverages.append(inside[np.arange(100), labels[400:]].mean())
        sizes.append(inside.sum(axis=1).mean())
    assert np.mean(coverages) == pytest.approx(0.95, abs=0.01)
    assert np.mean(sizes) < 4


def test_too_few_images_for_a_coverage_give_sets_of_all_classes() -> None:
    probabilities, labels = simulated(np.random.default_rng(0), 10)
    table = doubt_table(probabilities, labels)
    assert class_sets(probabilities, table, 0.95).all()
    assert not class_sets(probabilities, table, 0.9).all()


@pytest.mark.parametrize("asked", [0, 1, -0.5, 95, float("nan"), None, "x", [0.5], 10**400])
def test_a_coverage_outside_its_range(asked: Any) -> None:
    with pytest.raises(ConfigError, match=r"coverage is .*: expected a number between 0 and 1, as .95"):
        class_sets(np.ones((1, 1)), ScoreTable.of(np.zeros(1)), asked)
