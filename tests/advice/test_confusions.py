"""Classes that are mixed up, and those that nobody can tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.advice.confusions import confused_classes


def answers(random: np.random.Generator, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes; the first two are told apart by chance in a share of the images."""
    positions = np.repeat([0, 1, 2], 100)
    probabilities = np.eye(3)[positions] * 0.8 + 0.1
    unsure = (random.random(300) < chance) & (positions < 2)
    swapped = unsure & (random.random(300) < 0.5)
    probabilities[swapped] = probabilities[swapped][:, [1, 0, 2]]
    return probabilities, positions


def test_classes_that_chance_tells_apart_are_named() -> None:
    (pair,) = confused_classes(*answers(np.random.default_rng(0), 1.0))
    assert {pair.first, pair.second} == {0, 1}
    assert pair.cannot_be_separated
    assert pair.share == pytest.approx(0.5, abs=0.1)


def test_classes_that_are_mixed_up_sometimes_are_separable() -> None:
    (pair,) = confused_classes(*answers(np.random.default_rng(0), 0.3))
    assert not pair.cannot_be_separated
    assert pair.interval[0] < pair.share < pair.interval[1]
    assert pair.separation_interval[0] < pair.separation < pair.separation_interval[1]
    assert pair.first_as_second >= pair.second_as_first
    assert pair.images == 200


def test_few_images_prove_nothing() -> None:
    probabilities = np.array([[0.4, 0.6], [0.6, 0.4], [0.6, 0.4], [0.4, 0.6]])
    (pair,) = confused_classes(probabilities, np.array([0, 0, 1, 1]))
    assert not pair.cannot_be_separated
    assert np.isnan(pair.separation)


def test_images_of_one_group_count_together() -> None:
    """Twenty copies of each image make nobody surer, and too few groups say nothing."""
    probabilities, positions = answers(np.random.default_rng(0), 1.0)
    many, codes = np.repeat(np.arange(len(positions)), 20), np.repeat(np.arange(len(positions)), 20)
    (alone,) = confused_classes(probabilities, positions)
    (copied,) = confused_classes(probabilities[many], positions[many], codes)
    width = lambda interval: interval[1] - interval[0]  # noqa: E731
    assert width(copied.interval) == pytest.approx(width(alone.interval), rel=0.2)
    assert width(copied.separation_interval) == pytest.approx(width(alone.separation_interval), rel=0.3)
    (few,) = confused_classes(probabilities, positions, np.arange(len(positions)) % 4)
    assert few.interval == few.separation_interval == (0.0, 1.0)
