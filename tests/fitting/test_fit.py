"""Heads on a bank's images: what is told of each, and that none takes the others with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fitted_heads import fit

from featurebank import metrics
from featurebank.bank import Bank
from featurebank.errors import DatasetError, UnknownNameError
from featurebank.fitting import scoring
from featurebank.fitting.data import TrainingData
from featurebank.fitting.scoring import align
from featurebank.metrics import unpack

pytestmark = pytest.mark.heavy


HERE = "featurebank.heads.estimators:EstimatorHead"


def test_results_come_with_their_positions(make_bank: Callable[..., Bank]) -> None:
    found = fit(make_bank(), ("softmax", {"epochs": 1}), ("knn", {}), ("softmax", {"epochs": 2}), ("ridge", {}))
    assert [type(f.head).__name__ for f in found] == ["SoftmaxHead", "EstimatorHead", "SoftmaxHead", "RidgeHead"]
    assert [len(f.history["loss"]) if f.history else None for f in found] == [1, None, 2, None]
    assert [f.together for f in found] == [2, 1, 2, 1]
    assert found[1].head.estimator_.__class__.__name__ == "KNeighborsClassifier"
    assert all(f.seconds > 0 and f.failure is None for f in found)


def test_metrics_are_those_of_the_splits(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    fitted = fit(bank, ("logistic", {}))[0]
    for split in ("train", "val"):
        score = metrics.scores if split == "val" else metrics.short_scores
        expected = score(fitted.head.predict_proba(bank.features("pooled", split)), bank.labels(split))
        for name, value in expected.items():
            assert fitted.metrics[split][name] == pytest.approx(value, abs=1e-6)
    low, high = fitted.metrics["val"]["accuracy_interval"]
    assert low < fitted.metrics["val"]["accuracy"] < high


def test_which_images_are_right_is_told_in_their_order(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    fitted = fit(bank, ("ridge", {}))[0]
    expected = fitted.head.predict(bank.features("pooled", "val")) == bank.labels("val")
    assert 0 < expected.sum() < len(expected), "or this test says little"
    assert np.array_equal(unpack(fitted.right or "", len(expected)), expected)
    assert fitted.parameters == (fitted.head.n_features_in_ + 1) * 3


@pytest.mark.parametrize("kind", ["nearest_mean", "softmax"])
def test_calibrated_heads_are_trained_like_the_others(make_bank: Callable[..., Bank], kind: str) -> None:
    bank = make_bank(noise=4.0)
    params = {"epochs": 5} if kind == "softmax" else {}
    plain, calibrated = fit(bank, (kind, params), (kind, {**params, "calibrate": "temperature"}))
    assert calibrated.right == plain.right
    assert calibrated.metrics["val"]["accuracy"] == plain.metrics["val"]["accuracy"]
    assert calibrated.parameters == (plain.parameters or 0) + 1
    assert calibrated.history == plain.history
    X_val, y_val = bank.features("pooled", "val"), bank.labels("val")
    apart = calibrated.head.predict_validation(X_val, y_val)
    assert calibrated.metrics["val"]["loss"] == metrics.log_loss(apart, y_val)
    assert calibrated.metrics["val"]["loss"] > metrics.log_loss(calibrated.head.predict_proba(X_val), y_val)


def test_a_method_of_calibration_that_is_none_fails_alone(make_bank: Callable[..., Bank]) -> None:
    found = fit(make_bank(), ("ridge", {"calibrate": "magic"}), ("ridge", {}))
    assert found[0].failure == "calibrate is 'magic': expected 'temperature'"
    assert found[1].failure is None


def test_training_metrics_look_at_the_first_rows_alone(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make_bank(noise=4.0)
    monkeypatch.setattr(scoring, "SCORED_TRAINING_ROWS", 10)
    fitted = fit(bank, ("ridge", {}))[0]
    expected = np.mean(fitted.head.predict(bank.features("pooled", "train")[:10]) == bank.labels("train")[:10])
    assert fitted.metrics["train"]["accuracy"] == expected


def test_a_class_that_training_lacks_is_a_mistake_not_a_crash(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(untrained=(1,))
    assert set(bank.labels("train")) == {0, 2}
    for fitted in fit(
        bank, ("knn", {}), ("softmax", {"epochs": 30, "learning_rate": 0.05}), ("xgboost", {"n_estimators": 5})
    ):
        assert list(fitted.head.classes_) == [0, 2]
        lost = np.mean(bank.labels("val") == 1)
        assert lost > 0
        assert fitted.metrics["val"]["accuracy"] == pytest.approx(1 - lost, abs=0.1)
        assert fitted.metrics["val"]["accuracy"] <= 1 - lost
        assert fitted.metrics["val"]["loss"] >= -lost * np.log(1e-7) * 0.99


def test_probabilities_are_aligned_with_the_classes() -> None:
    aligned = align(np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([1, 3]), 5)
    assert aligned.tolist() == [[0, 0.25, 0, 0.75, 0], [0, 1, 0, 0, 0]]


def test_answers_that_are_not_finite_fail_their_head_alone(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of heads that were trained together: the others of their program are kept."""
    from featurebank.heads.neural.softmax import SoftmaxHead

    answer = SoftmaxHead.predict_proba

    def broken(self: SoftmaxHead, X: np.ndarray) -> np.ndarray:
        return answer(self, X) * (np.nan if self.l2 else 1)

    monkeypatch.setattr(SoftmaxHead, "predict_proba", broken)
    found = fit(make_bank(), *(("softmax", {"epochs": 1, "l2": l2}) for l2 in (0.0, 0.1, 0.0)))
    assert [f.failure for f in found] == [None, "its probabilities are not finite", None]


def test_a_diverging_head_is_that_heads_alone(make_bank: Callable[..., Bank]) -> None:
    params: dict[str, Any] = {"hidden_units": 16, "epochs": 2}
    found = fit(make_bank(), *(("mlp", {**params, "learning_rate": rate}) for rate in (0.01, 1e30)))
    assert found[0].failure is None
    assert "diverged" in str(found[1].failure)


@pytest.mark.parametrize(
    ("splits", "told"), [((0, 30, 30), "no training images"), ((60, 0, 30), "no validation images")]
)
def test_an_empty_split_is_told(make_bank: Callable[..., Bank], splits: tuple[int, int, int], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        TrainingData.of(make_bank(splits=splits), "pooled")


def test_one_class_in_training_is_told(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(classes=2, untrained=(1,))
    with pytest.raises(DatasetError, match="every one of 60 training images is of class 'class0'"):
        TrainingData.of(bank, "pooled")


def test_an_unknown_tap(make_bank: Callable[..., Bank]) -> None:
    with pytest.raises(UnknownNameError, match="unknown tap 'map'"):
        TrainingData.of(make_bank(), "map")
