"""The effect of each axis of a grid, from runs whose answers are known image by image."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from featurebank.metrics import pack
from featurebank.reporting.sections.axes import AxisEffect, axis_effects, gain_interval
from featurebank.runs.comparison import entries
from featurebank.runs.run import RunRecord

IMAGES = 400


def run_of(right: np.ndarray, kind: str = "knn", *, tap: str = "pooled", told: bool = True, **params: Any) -> RunRecord:
    val = {"accuracy": float(right.mean()), "loss": 1.0, "images": len(right)}
    return RunRecord(
        run=f"{kind}{tap}{params}", head=kind, params=params, tap=tap, seed=0, seconds=1.0,
        metrics={"val": val, "train": {"accuracy": 1.0}}, bank="", created="", right=pack(right) if told else None,
    )  # fmt: skip


def first(share: float) -> np.ndarray:
    return np.arange(IMAGES) < share * IMAGES


def effects(*runs: RunRecord) -> dict[str, AxisEffect]:
    return {effect.name: effect for effect in axis_effects(entries(runs))}


def test_one_axis_matters_and_the_other_does_not() -> None:
    """Both are crossed: the large effect of one must not hide that the other has none."""
    grid = [(metric, number) for metric in ("cosine", "euclidean") for number in (1, 5)]
    found = effects(
        *(
            run_of(first(0.9 if metric == "cosine" else 0.8), metric=metric, n_neighbors=number)
            for metric, number in grid
        )
    )
    metric = found["metric of knn"]
    assert (metric.best, metric.worst, metric.pairs) == ("cosine", "euclidean", 2)
    assert metric.gain == pytest.approx(0.1)
    assert metric.interval is not None
    assert metric.interval[0] > 0
    assert metric.matters
    assert not found["n_neighbors of knn"].matters
    assert list(found) == ["metric of knn", "n_neighbors of knn"]


def test_a_difference_within_chance_does_not_matter() -> None:
    random = np.random.default_rng(2)
    found = effects(run_of(random.random(IMAGES) < 0.8, alpha=1), run_of(random.random(IMAGES) < 0.8, alpha=2))
    (effect,) = found.values()
    assert effect.interval is not None
    assert effect.interval[0] < 0 < effect.interval[1]


@pytest.mark.parametrize(("more", "matters"), [(4, False), (8, True)])
def test_a_few_images_that_only_one_head_recognises_are_chance(more: int, matters: bool) -> None:
    """Four answers of one sign have a p-value of 1/8 by the sign test, eight have 1/128."""
    right = np.arange(100) < 80
    (effect,) = effects(run_of(right, alpha=1), run_of(right | (np.arange(100) >= 100 - more), alpha=2)).values()
    assert effect.matters == matters


def test_repetitions_of_folds_are_no_further_images() -> None:
    """The same answers once and four times are equally sure."""
    random = np.random.default_rng(5)
    answers = {alpha: random.random(IMAGES) < 0.8 + alpha / 20 for alpha in (1, 2)}

    def widths(repeats: int) -> float:
        runs = [
            dataclasses.replace(run_of(part, alpha=alpha), run=f"{alpha}{fold}{again}", fold=(fold, 2, again))
            for alpha, right in answers.items()
            for again in range(repeats)
            for fold, part in enumerate(np.split(right, 2))
        ]
        (effect,) = effects(*runs).values()
        assert effect.interval is not None
        return effect.interval[1] - effect.interval[0]

    assert widths(4) == pytest.approx(widths(1), rel=0.02)


def test_only_heads_that_differ_in_nothing_else_are_compared() -> None:
    found = effects(run_of(first(0.9), alpha=1, pca=None), run_of(first(0.5), alpha=2, pca=64))
    assert found == {}


def test_taps_and_kinds_are_axes() -> None:
    found = effects(
        run_of(first(0.9), alpha=1), run_of(first(0.7), alpha=1, tap="block:avg"), run_of(first(0.5), "ridge", alpha=3)
    )
    assert (found["tap"].best, found["tap"].worst) == ("pooled", "block:avg")
    kinds = found["kind of head"]
    assert (kinds.best, kinds.worst, kinds.pairs) == ("knn", "ridge", 0)
    assert kinds.gain == pytest.approx(0.4)


def test_values_are_ordered_as_numbers_and_shown_briefly() -> None:
    found = effects(*(run_of(first(0.9), alpha=alpha) for alpha in (1e-3, 10.0, 2.0)))
    assert [value for value, _ in found["alpha of knn"].values] == ["0.001", "2", "10"]


def test_without_answers_for_single_images_there_is_no_interval() -> None:
    found = effects(run_of(first(0.9), alpha=1, told=False), run_of(first(0.7), alpha=2, told=False))
    (effect,) = found.values()
    assert (effect.interval, effect.matters) == (None, False)
    assert effect.gain == pytest.approx(0.2)


def test_images_of_one_group_count_together_in_the_interval_of_a_gain() -> None:
    by_image = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 60, p=[0.1, 0.5, 0.4])
    low, high = gain_interval(by_image, 2, 1) or (0.0, 0.0)
    many, codes = np.repeat(by_image, 10), np.repeat(np.arange(60), 10)
    least, most = gain_interval(many, 2, 1, codes) or (0.0, 0.0)
    assert most - least == pytest.approx(high - low, rel=0.2)
    assert gain_interval(by_image, 2, 1, np.arange(60) % 3) is None
