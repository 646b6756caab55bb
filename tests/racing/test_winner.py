"""The interval of the best of many: it holds its level although the best one was chosen by the same images."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.metrics import METRICS, ImageScores, metric_of
from featurebank.racing.winner import metric_winner, share_winner, winner_interval
from featurebank.statistics import proportion_interval

EQUAL, CLEAR = np.full(20, 0.8), np.r_[0.9, np.full(19, 0.6)]


def answers(rng: np.random.Generator, shares: np.ndarray, count: int) -> np.ndarray:
    """Right and wrong answers of candidates that find the same images difficult."""
    common, own = rng.random(count), rng.random((len(shares), count))
    return np.asarray(np.where(own < 0.5, common, rng.random((len(shares), count))) < shares[:, None])


@pytest.mark.parametrize("shares", [EQUAL, CLEAR], ids=["equal", "clear"])
def test_the_interval_covers_the_truth_as_often_as_it_says(shares: np.ndarray) -> None:
    rng, hits, plain = np.random.default_rng(5), 0, 0
    for _ in range(60):
        right = answers(rng, shares, 120)
        best = int(right.mean(axis=1).argmax())
        found = share_winner(right, best)
        hits += found.low <= shares[best] <= found.high
        low, high = proportion_interval(found.value, 120)
        plain += low <= shares[best] <= high
    assert 53 <= hits <= 60
    assert plain < 51 or shares is CLEAR, "an interval that ignores the choice fails where candidates are equal"


def test_a_clear_winner_has_the_interval_of_one_that_was_not_chosen() -> None:
    right = np.zeros((3, 200), bool)
    right[0, :180], right[1, :100], right[2, 50:140] = True, True, True
    found = share_winner(right, 0)
    assert found.corrected == pytest.approx(0.9, abs=0.003)
    assert (found.low, found.high) == pytest.approx(proportion_interval(0.9, 200), abs=0.006)
    assert found.candidates == 3


def test_many_equal_candidates_pull_the_winner_down() -> None:
    right = answers(np.random.default_rng(1), np.full(40, 0.8), 100)
    best = int(right.mean(axis=1).argmax())
    found = share_winner(right, best)
    assert found.value > 0.82
    assert abs(found.corrected - 0.8) < abs(found.value - 0.8)
    assert found.low < found.corrected < found.high
    assert share_winner(right, best) == found, "the same answers have the same interval"


def test_images_of_one_group_count_together() -> None:
    right = np.repeat(answers(np.random.default_rng(2), np.full(4, 0.7), 30), 20, axis=1)
    best = int(right.mean(axis=1).argmax())
    alone, together = share_winner(right, best), share_winner(right, best, np.repeat(np.arange(30), 20))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_perfect_answers_leave_room_for_doubt() -> None:
    for groups in (None, np.arange(50) // 5):
        found = share_winner(np.ones((3, 50), bool), 1, groups)
        assert found.high == pytest.approx(1)
        assert 0.6 < found.low < 0.95


def test_of_a_loss_the_smallest_is_lucky_in_the_other_direction() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 200)
    scores = []
    for _ in range(12):
        sure = np.clip(0.5 + (labels - 0.5) * 0.6 + rng.normal(0, 0.15, 200), 0.02, 0.98)
        scores.append(ImageScores.of(np.stack([1 - sure, sure], axis=1), labels))
    metric = METRICS["loss"]
    best = min(range(12), key=lambda place: metric.of(scores[place]))
    found = metric_winner(metric, scores, best)
    assert found.value == pytest.approx(metric.of(scores[best]))
    assert found.low < found.corrected < found.high
    assert found.corrected > found.value


def test_candidates_without_any_variation_have_an_interval_without_width() -> None:
    found = winner_interval(np.array([0.5, 0.4]), np.array([[0.5] * 10, [0.4] * 10]), 0)
    assert (found.low, found.corrected, found.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("groups", [None, np.arange(40) // 4], ids=["images", "groups"])
def test_the_recall_of_one_image_is_hardly_known(groups: np.ndarray | None) -> None:
    labels = np.r_[1, np.zeros(39, int)]
    candidates = [ImageScores.of(np.c_[1 - second, second], labels) for second in (labels * 0.9, np.zeros(40))]
    found = metric_winner(metric_of("recall:rare", ("usual", "rare")), candidates, 0, groups)
    assert found.value == 1.0
    known = proportion_interval(1.0, 1) if groups is None else (0.0, 1.0)  # one group says nothing about others
    assert (found.low, found.high) == pytest.approx(known)
