"""Heads on a bank's images: what is told of each, and that none takes the others with it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestCentroid

from featurebank import make_head, metrics
from featurebank.bank import Bank
from featurebank.errors import DatasetError, UnknownNameError
from featurebank.fitting import scoring
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import Fitted, fit_heads
from featurebank.fitting.scoring import align
from featurebank.fitting.spec import HeadSpec
from featurebank.metrics import unpack

pytestmark = pytest.mark.heavy

HERE = "featurebank.heads.estimators:EstimatorHead"


class Loud(NearestCentroid):
    """Warns, and fails in whichever way it is told to."""

    def __init__(self, error: str = "") -> None:
        super().__init__()
        self.error = error

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        warnings.warn("not converged\n  yet", ConvergenceWarning, stacklevel=1)
        if self.error:
            raise {"key": KeyError, "runtime": RuntimeError, "attribute": AttributeError}[self.error](
                f"{self.error}\nbad"
            )
        return super().fit(X, y)


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> str:
    """The import path of `Loud`, which lies in no package."""
    import sklearn.neighbors

    monkeypatch.setattr(sklearn.neighbors, "Loud", Loud, raising=False)
    return "sklearn.neighbors:Loud"


def fit(bank: Bank, *specs: tuple[str, dict[str, Any]], seed: int = 0) -> list[Fitted]:
    found: dict[int, Fitted] = {}
    wanted = [(HeadSpec(kind, params), seed) for kind, params in specs]
    fit_heads(wanted, TrainingData.of(bank, "pooled"), lambda position, fitted: found.update({position: fitted}))
    return [found[position] for position in range(len(specs))]


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


@pytest.mark.parametrize("error", ["key", "runtime", "attribute"])
def test_whatever_a_library_raises_is_that_heads_alone(make_bank: Callable[..., Bank], loud: str, error: str) -> None:
    found = fit(make_bank(), (loud, {"error": error}), ("knn", {}))
    assert found[0].failure
    assert "bad" in found[0].failure
    assert "\n" not in found[0].failure
    assert (found[0].metrics, found[0].history) == ({}, None)
    assert found[1].failure is None


def test_a_refused_parameter_is_that_heads_alone(make_bank: Callable[..., Bank]) -> None:
    found = fit(make_bank(), ("svm", {"C": -1.0}), ("knn", {"n_neighbors": 1000}), ("ridge", {"pca": 99}), ("knn", {}))
    assert [bool(f.failure) for f in found] == [True, True, True, False]
    assert "pca is 99, expected 1 to 8" in str(found[2].failure)


def test_warnings_are_notes_of_their_head(make_bank: Callable[..., Bank], loud: str) -> None:
    found = fit(make_bank(), ("knn", {}), (loud, {}), ("ridge", {}))
    assert [f.notes for f in found] == [(), ("not converged yet",), ()]


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


GRID: list[tuple[str, dict[str, Any]]] = [
    ("logistic", {"C": 1.0}), ("knn", {}), ("ridge", {"alpha": 1.0}), ("logistic", {"C": 0.01}), ("lda", {}),
    ("ridge", {"alpha": 10.0}), ("svm", {"C": 1.0}), ("svm", {"C": 9.0, "gamma_times": 2.0}), ("nearest_mean", {}),
    ("kernel_ridge", {}), ("ridge", {"alpha": 10.0, "standardize": False, "pca": 3}),
]  # fmt: skip


def test_exact_heads_of_a_path_are_told_one_by_one_and_as_alone(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    found = fit(bank, *GRID)
    assert [f.together for f in found] == [2, 1, 2, 2, 1, 2, 2, 2, 1, 1, 1]
    assert all(f.seconds > 0 and f.failure is None for f in found)
    for (kind, params), fitted in zip(GRID, found, strict=True):
        alone = make_head(kind, params).fit(bank.features("pooled", "train"), bank.labels("train"))
        X = bank.features("pooled", "val")
        np.testing.assert_allclose(fitted.head.predict_proba(X), alone.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("backend", ["threading", "sequential", "loky"])
def test_heads_are_the_same_bytes_by_whatever_backend_of_joblib(make_bank: Callable[..., Bank], backend: str) -> None:
    def told(fitted: Fitted) -> tuple[Any, ...]:
        arrays = {} if fitted.failure else fitted.head.state().arrays
        parts = {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}
        return parts, fitted.metrics, fitted.right, fitted.together, fitted.notes, fitted.failure

    bank = make_bank(noise=4.0)
    specs = [
        *GRID,
        ("logistic", {"max_iter": 1}),
        ("svm", {"C": -1.0}),
        ("random_forest", {"n_estimators": 3}),
        ("xgboost", {"n_estimators": 2}),
    ]
    expected = fit(bank, *specs)
    with joblib.parallel_config(backend, n_jobs=2):
        found = fit(bank, *specs)
    assert [told(fitted) for fitted in found] == [told(fitted) for fitted in expected]


def test_what_fails_in_a_path_is_that_heads_alone(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurebank.heads.exact.closed_form import RidgeHead

    solve = RidgeHead._solve

    def poor(self: RidgeHead, shared: Any) -> None:
        if self.alpha == 2.0:
            raise MemoryError
        solve(self, shared)

    monkeypatch.setattr(RidgeHead, "_solve", poor)
    found = fit(make_bank(), *(("ridge", {"alpha": alpha}) for alpha in (1.0, 2.0, -1.0, 3.0)))
    assert [f.failure for f in found] == [
        None, "MemoryError: MemoryError", "RidgeHead: alpha is -1.0, expected a number above 0, several, or 'loo'", None
    ]  # fmt: skip


def test_the_notes_of_a_path_are_its_heads(make_bank: Callable[..., Bank]) -> None:
    found = fit(make_bank(noise=4.0), ("logistic", {}), ("logistic", {"C": 10.0, "max_iter": 1}))
    assert found[0].notes == ()
    assert [note.split(":")[0] for note in found[1].notes] == ["not converged after 1 step"]


def test_whatever_breaks_around_the_heads_is_told_too(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or who waits for them would wait forever."""
    monkeypatch.setattr(TrainingData, "shared", property(lambda self: 1 / 0))
    found = fit(make_bank(), ("ridge", {}), ("ridge", {"alpha": 1.0}))
    assert [f.failure for f in found] == ["ZeroDivisionError: division by zero"] * 2


def test_an_interrupted_grid_ends_after_the_head_that_is_fitted(make_bank: Callable[..., Bank]) -> None:
    bank, told = make_bank(), []

    def interrupt(position: int, fitted: Fitted) -> None:
        told.append(position)
        raise KeyboardInterrupt

    wanted = [(HeadSpec("ridge", {"alpha": float(alpha)}), 0) for alpha in range(1, 200)]
    with pytest.raises(KeyboardInterrupt):
        fit_heads(wanted, TrainingData.of(bank, "pooled"), interrupt)
    assert len(told) == 1


def test_exact_heads_import_no_tensorflow(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    code = (
        "import sys, pathlib; from featurebank import open_bank; from featurebank.fitting.fit import *; "
        "from featurebank.fitting.data import TrainingData; "
        f"data = TrainingData.of(open_bank(pathlib.Path({str(bank.path)!r})), 'pooled'); failures = []; "
        f"fit_heads([(HeadSpec(k, p), 0) for k, p in {GRID!r}], data, lambda _, f: failures.append(f.failure)); "
        f"sys.exit(failures != [None] * {len(GRID)} or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
