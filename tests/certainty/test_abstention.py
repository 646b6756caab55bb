"""Abstention keeps the error among the answered, in expectation, and says when it cannot."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from unsure_models import simulated

from featurebank.certainty.abstention import AbstentionTable
from featurebank.errors import ConfigError


@pytest.mark.parametrize("asked", [0.05, 0.1, 0.2])
def test_the_expected_error_among_the_answered_is_at_most_what_was_asked_for(asked: float) -> None:
    random, errors = np.random.default_rng(0), []
    for _ in range(300):
        probabilities, labels = simulated(random, 400)
        chosen = AbstentionTable.of(probabilities[:200], labels[:200]).find(asked)
        answered = np.zeros(200, bool) if chosen is None else chosen.answers(probabilities[200:])
        wrong = (probabilities[200:].argmax(axis=1) != labels[200:]) & answered
        errors.append(wrong.sum() / max(1, answered.sum()))
    assert 0.1 * asked < np.mean(errors) <= asked


def test_the_threshold_answers_most_images_and_says_what_to_expect() -> None:
    probabilities = np.array([[0.9, 0.1]] * 60 + [[0.6, 0.4]] * 40)
    labels = np.array([0] * 80 + [1] * 20)
    table = AbstentionTable.of(probabilities, labels)
    chosen = table.choose(0.02)
    assert (chosen.share, chosen.error, chosen.threshold) == (0.6, 0.0, pytest.approx(np.log(1 / 9), abs=2e-3))
    assert chosen.answers(probabilities).tolist() == [True] * 60 + [False] * 40
    assert "answers 60.0% of 100 validation images, with an error of 0.0%" in chosen.sentence
    everything = table.choose(0.5)
    assert (everything.share, everything.threshold) == (1.0, np.inf)
    assert everything.answers(np.array([[0.5, 0.5]])).all(), "it answers images with more doubt than any known one, too"
    with pytest.raises(
        ConfigError, match=r"no threshold reaches an error of 0.001 on 100 validation images: the sma.*0.017"
    ):
        table.choose(0.001)
    assert table.choose(0.017).share == 0.6, "the error that the message names can be asked for"


@pytest.mark.parametrize("asked", [0, 1, -1, 2, None, "x", [0.5], 10**400])
def test_an_error_outside_its_range(asked: Any) -> None:
    with pytest.raises(ConfigError, match=r"the error to abstain at is .*: expected a number between 0 and 1, as .02"):
        AbstentionTable.of(np.ones((1, 1)), np.zeros(1, int)).choose(asked)


def test_groups_count_once_each() -> None:
    probabilities, labels = simulated(np.random.default_rng(0), 300)
    one = AbstentionTable.of(probabilities, labels)
    many = AbstentionTable.of(np.repeat(probabilities, 5, axis=0), np.repeat(labels, 5), np.repeat(np.arange(300), 5))
    assert many.choose(0.1).share == pytest.approx(one.choose(0.1).share)
    assert many.choose(0.1).images == 300


def test_a_table_is_bounded_and_read_as_it_was_written() -> None:
    table = AbstentionTable.of(*simulated(np.random.default_rng(0), 20_000))
    assert len(table.doubt) <= 2000
    value = json.loads(json.dumps(table.to_json()))
    again, first = AbstentionTable.from_json(value).choose(0.1), table.choose(0.1)
    assert (again.threshold, again.share) == pytest.approx((first.threshold, first.share), rel=1e-5)
    for name, wrong in (
        ("units", 0),
        ("units", 10),
        ("units", True),
        ("wrong", [5.0] * len(table.doubt)),
        ("doubt", []),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - which one is said in the message of the file
            AbstentionTable.from_json({**value, name: wrong})
