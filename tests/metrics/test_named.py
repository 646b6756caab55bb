"""Metrics by name: aliases, the recall of a class, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featurebank.errors import ConfigError, UnknownNameError
from featurebank.metrics import METRICS, ImageScores, metric_of
from featurebank.metrics.significance import confidence_interval, paired_p_value
from featurebank.statistics import mcnemar, proportion_interval

CLASSES = ["cat", "dog", "a:b"]


def test_names_are_those_of_the_table_and_their_aliases() -> None:
    assert [metric_of(name) for name in METRICS] == list(METRICS.values())
    assert metric_of("log_loss") is METRICS["loss"]
    assert metric_of("top5") is METRICS["top5_accuracy"]
    assert metric_of(METRICS["brier"]) is METRICS["brier"]


def test_an_unknown_name_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'aurok': did you mean 'auroc'"):
        metric_of("aurok")
    with pytest.raises(UnknownNameError, match=r"known: accuracy, loss.*recall:CLASS, cost:FILE.csv"):
        metric_of("zzz")


def test_the_recall_of_a_class_is_a_share_of_its_images() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)
    first, second = (ImageScores.of(random.dirichlet(np.ones(3), 60), labels) for _ in range(2))
    metric, dogs = metric_of("recall:dog", CLASSES), labels == 1
    assert metric.of(first) == pytest.approx(first.right[dogs].mean())
    assert confidence_interval(metric, first) == proportion_interval(metric.of(first), int(dogs.sum()))
    lost, gained = (int((a.right & ~b.right & dogs).sum()) for a, b in ((first, second), (second, first)))
    assert paired_p_value(metric, first, second) == mcnemar(lost, gained)


def test_recall_and_balanced_accuracy_come_from_a_record() -> None:
    record = {"accuracy": 0.5, "recall": [0.25, None, 0.75]}
    assert metric_of("recall:a:b", CLASSES).recorded(record) == 0.75
    assert np.isnan(metric_of("recall:dog", CLASSES).recorded(record))
    assert metric_of("balanced_accuracy").recorded(record) == 0.5
    assert np.isnan(metric_of("balanced_accuracy").recorded({}))
    assert np.isnan(metric_of("auroc").recorded(record))


def test_a_class_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown class 'cats': did you mean 'cat'.*'recall:cats'"):
        metric_of("recall:cats", CLASSES)


def test_a_name_with_an_argument_needs_the_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recall:cat.*classes"):
        metric_of("recall:cat")
