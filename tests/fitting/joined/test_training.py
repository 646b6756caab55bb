"""Heads on joined taps are trained, found again and predict like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from joined_banks import columns, features

from featurebank import evaluate_test, leaderboard, train_heads
from featurebank.bank import Bank
from featurebank.fitting.folds import Fold
from featurebank.fitting.joined.rows import JoinedVectors
from featurebank.fitting.joined.training import training_data

TAP = "pooled+vit:cls+columns:age,site"


def numbers(bank: Bank, split: str) -> np.ndarray:
    return np.array([int(name.removesuffix(".png")) for name in bank.ids(split)])


def expected(bank: Bank, training: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The scaled features of images by their numbers, computed from scratch."""
    own = columns()
    sites = np.unique(own["site"][training])
    X = [features("pooled", np.arange(120)), features("cls", np.arange(120))]
    X += [own["age"][:, None], np.float64(own["site"][:, None] == sites)]
    for place, width in enumerate((8, 5, 2)):
        mean, variance = X[place][training].mean(axis=0), X[place][training].var(axis=0)
        X[place] = (X[place] - mean) / np.sqrt(variance.mean() * width)
    whole = np.concatenate([*X[:3], X[3] / np.sqrt(2)], axis=1)
    return np.asarray(whole[rows] * np.sqrt(15 / 3))


@pytest.mark.parametrize("sample", [None, 40])
def test_features_are_scaled_by_the_training_images(joined_banks: Callable[..., Bank], sample: int | None) -> None:
    bank = joined_banks()
    data = training_data(bank, TAP, 0, sample=sample)
    training, val = numbers(bank, "train")[:sample], numbers(bank, "val")
    assert np.allclose(data.X, expected(bank, training, training), atol=1e-4)
    assert np.allclose(data.X_val, expected(bank, training, val), atol=1e-4)
    assert data.shape == (8 + 5 + 1 + 2,), "the site that only a validation image has is no feature"


def test_features_are_scaled_by_the_other_folds(joined_banks: Callable[..., Bank]) -> None:
    bank = joined_banks()
    for part in range(3):
        data = training_data(bank, TAP, 0, Fold(part, 3))
        assert np.abs(np.asarray(data.X)[:, :13].mean(axis=0)).max() < 1e-5
    assert len(data.y) + len(data.y_val) == 90


def test_views_are_scaled_like_clean_images(joined_banks: Callable[..., Bank]) -> None:
    data = training_data(joined_banks(views=1), TAP, 1)
    assert data.scaling is not None
    shift = (np.arange(16) < 13) * data.scaling.factor  # a view is the clean image plus 1
    assert np.allclose(data.views[0] - np.asarray(data.X), shift, atol=1e-4)


def test_features_that_do_not_fit_are_read_in_blocks(
    joined_banks: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank = joined_banks()
    whole = training_data(bank, TAP, 0)
    set_ram(10_000)
    data = training_data(bank, TAP, 0)
    assert isinstance(data.X, JoinedVectors)
    blocks = list(data.X.blocks(seed=3))
    rows = np.concatenate([block.rows for block in blocks])
    assert sorted(rows.tolist()) == list(range(60))
    assert np.allclose(np.concatenate([block.X for block in blocks]), np.asarray(whole.X)[rows], atol=1e-5)
    ridge = train_heads(bank, "ridge", taps=[TAP])[0]
    set_ram(1 << 30)
    assert np.allclose(ridge.load().predict_proba(_raw(bank, ridge)), ridge.predictions().probabilities, atol=1e-6)


def _raw(bank: Bank, run: Any) -> np.ndarray:
    own, rows = columns(), numbers(bank, "val")
    sites = np.float32(own["site"][rows][:, None] == np.array(["north", "south"]))
    return np.concatenate([features("pooled", rows), features("cls", rows), own["age"][rows][:, None], sites], axis=1)


def test_a_run_is_identified_scored_and_loaded(joined_banks: Callable[..., Bank]) -> None:
    bank = joined_banks()
    grid = ["ridge", "knn", {"kind": "svm", "calibrate": "temperature"}]
    runs = train_heads(bank, grid, taps=["vit:cls + columns:site,age + pooled", "pooled", "pooled+late:avg"])
    assert {run.tap for run in runs} == {"pooled", "pooled+late:avg", TAP}
    best = next(run for run in runs if run.tap == TAP and run.head == "ridge")
    accuracies = {run.tap: run.metrics["val"]["accuracy"] for run in runs if run.head == "ridge"}
    assert accuracies[TAP] > 0.9 > accuracies["pooled"]
    for run in runs:
        assert run.predictions().accuracy == pytest.approx(run.metrics["val"]["accuracy"])
    again = {run.run: run.created for run in train_heads(bank, grid, taps=[TAP])}
    assert again[best.run] == best.created, "it was not trained again"
    assert evaluate_test(best).metrics["test"]["accuracy"] > 0.8
    assert np.array_equal(best.predict_proba(_raw(bank, best)), best.predictions().probabilities)
    assert len(leaderboard(bank)) == 9


def test_no_default_undoes_the_weights_of_the_parts(joined_banks: Callable[..., Bank]) -> None:
    grid: list[Any] = ["ridge", {"kind": "ridge", "standardize": True, "name": "told"}]
    runs = train_heads(joined_banks(), grid, taps=["pooled+late:avg", "pooled"])
    found = {(run.tap, run.name): run.params["standardize"] for run in runs}
    assert found[("pooled+late:avg", "")] is False
    assert found[("pooled+late:avg", "told")] is True
    assert {value for (tap, _), value in found.items() if tap == "pooled"} == {True}


def test_folds_and_processes(joined_banks: Callable[..., Bank]) -> None:
    import joblib

    bank = joined_banks()
    runs = train_heads(bank, ["ridge", "logistic"], taps=[TAP], folds=3)
    for run in runs[1:4]:
        assert run.predictions().accuracy == pytest.approx(run.metrics["val"]["accuracy"])
    own = training_data(bank, TAP, 0)
    with joblib.parallel_config("loky", n_jobs=1):
        there = train_heads(bank, {"kind": "ridge", "alpha": 3.0}, taps=[TAP])[0]
    head = there.load()
    assert own.scaling is not None
    assert np.array_equal(head.scaling_.factor, own.scaling.factor)
    assert there.predictions().accuracy == pytest.approx(there.metrics["val"]["accuracy"])
