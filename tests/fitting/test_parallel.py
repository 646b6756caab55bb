"""Heads without epochs: side by side they are what they are alone, whatever fails beside them."""

from __future__ import annotations

import socket
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from fitted_heads import fit
from forks import run
from joblib.parallel import ThreadingBackend
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestCentroid

from featurebank import make_head
from featurebank.bank import Bank
from featurebank.errors import BankNotFoundError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.exact.shared import Shared

pytestmark = pytest.mark.heavy


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


def results_of(fitted: Fitted) -> tuple[Any, ...]:
    """Everything of a result but its time."""
    arrays = {} if fitted.failure else fitted.head.state().arrays
    parts = {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}
    return parts, fitted.metrics, fitted.right, fitted.together, fitted.notes, fitted.failure


@pytest.mark.parametrize("backend", ["threading", "sequential", "loky", "dask"])
def test_heads_are_the_same_bytes_by_whatever_backend_of_joblib(
    make_bank: Callable[..., Bank], backend: str, request: pytest.FixtureRequest
) -> None:
    options = {"client": request.getfixturevalue("dask_client")} if backend == "dask" else {"n_jobs": 2}
    bank = make_bank(noise=4.0)
    specs = [
        *GRID,
        ("logistic", {"max_iter": 1}),
        ("svm", {"C": -1.0}),
        ("random_forest", {"n_estimators": 3}),
        ("xgboost", {"n_estimators": 2}),
    ]
    expected = fit(bank, *specs)
    with joblib.parallel_config(backend, **options):
        found = fit(bank, *specs)
    assert [results_of(fitted) for fitted in found] == [results_of(fitted) for fitted in expected]


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The bytes of each task and of its results; joblib's backend "weighing" runs them as those of other processes."""
    weights: list[tuple[int, int]] = []

    class Weighing(ThreadingBackend):
        supports_sharedmem = False

        def submit(self, func: Any, callback: Any = None) -> Any:
            task = cloudpickle.dumps(func)

            def run() -> Any:
                results = cloudpickle.dumps(cloudpickle.loads(task)())
                weights.append((len(task), len(results)))
                return cloudpickle.loads(results)

            return super().submit(run, callback)

    monkeypatch.setitem(joblib.parallel.BACKENDS, "weighing", Weighing)
    return weights


def test_neither_tasks_nor_results_hold_the_features(
    make_bank: Callable[..., Bank], pickled: list[tuple[int, int]]
) -> None:
    bank = make_bank(splits=(400, 50, 0), width=512)
    specs: list[tuple[str, dict[str, Any]]] = [("knn", {}), ("ridge", {}), ("logistic", {}), ("nearest_mean", {})]
    expected = fit(bank, *specs)
    with joblib.parallel_config("weighing", n_jobs=2):
        found = fit(bank, *specs)
    assert [results_of(fitted) for fitted in found] == [results_of(fitted) for fitted in expected]
    assert len(pickled) == len(specs)
    assert max(task for task, _ in pickled) < 4_000
    assert max(results for _, results in pickled) < 40_000, f"of {bank.features('pooled', 'train').nbytes}"


def test_arrays_that_are_in_no_bank_are_sent(make_bank: Callable[..., Bank], pickled: list[tuple[int, int]]) -> None:
    data = TrainingData.of(make_bank(), "pooled")
    found: list[Fitted] = []
    with joblib.parallel_config("weighing", n_jobs=2):
        fit_heads([(HeadSpec("knn", {}), 0)], replace(data, reference=None), lambda _, fitted: found.append(fitted))
    assert results_of(found[0]) == results_of(fit(make_bank(), ("knn", {}))[0])
    assert pickled[0][0] > data.nbytes


def test_a_process_computes_what_heads_share_once(
    make_bank: Callable[..., Bank], pickled: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Shared] = []
    monkeypatch.setattr("featurebank.fitting.data.Shared", lambda *given: made.append(Shared(*given)) or made[-1])
    with joblib.parallel_config("weighing", n_jobs=2):
        fit(make_bank(), *(("ridge", {"alpha": 1.0, "pca": n}) for n in (2, 3, 4)), ("knn", {}))
    assert len(pickled) > 1
    assert len(made) == 2, "one here, which the results take their features from, and one for all tasks"


def test_a_bank_that_a_process_does_not_see_is_one_line(
    make_bank: Callable[..., Bank], pickled: list[tuple[int, int]]
) -> None:
    bank = make_bank()
    data = TrainingData.of(bank, "pooled")
    bank.path.rename(bank.path.with_name("elsewhere"))
    with joblib.parallel_config("weighing", n_jobs=2), pytest.raises(BankNotFoundError) as error:
        fit_heads([(HeadSpec("knn", {}), 0)], data, lambda *_: None)
    assert socket.gethostname() in str(error.value)
    assert "expected a disk that all machines share" in str(error.value)


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
    assert run([sys.executable, "-c", code]).returncode == 0
