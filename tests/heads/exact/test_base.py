"""Every exact head predicts what its counterpart in scikit-learn predicts, on data of many kinds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn import datasets
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.svm import SVC

from featurebank import make_head
from featurebank.system.runtime import import_tensorflow
from featurebank.training.activations import softmax

pytestmark = pytest.mark.heavy


class Table(NamedTuple):
    """Features (n, d) float32 and labels (n,)."""

    X: np.ndarray
    y: np.ndarray


def bundled(load: Callable[..., Any], *, step: int = 1, scale: float = 1.0) -> Table:
    X, y = load(return_X_y=True)
    return Table((X[::step] * scale).astype(np.float32), y[::step])


def made(rows: int = 150, features: int = 12, classes: int = 3, seed: int = 0, **more: Any) -> Table:
    options = {"n_informative": min(features, 8), "n_redundant": 0, "n_clusters_per_class": 1, **more}
    X, y = datasets.make_classification(rows, features, n_classes=classes, random_state=seed, **options)
    return Table(X.astype(np.float32), y)


def twice(table: Table) -> Table:
    return Table(np.concatenate([table.X, table.X]), np.concatenate([table.y, table.y]))


def beside(table: Table, *columns: np.ndarray) -> Table:
    return Table(np.concatenate([table.X, *columns], axis=1).astype(np.float32), table.y)


TABLES: dict[str, Callable[[], Table]] = {
    "digits, 0 to 16": lambda: bundled(datasets.load_digits, step=4),
    "digits, 0 to 1": lambda: bundled(datasets.load_digits, step=6, scale=1 / 16),
    "iris": lambda: bundled(datasets.load_iris),
    "wine": lambda: bundled(datasets.load_wine),
    "breast cancer": lambda: bundled(datasets.load_breast_cancer, step=3, scale=0.1),
    "two classes": lambda: made(classes=2),
    "three classes": made,
    "ten classes": lambda: made(200, classes=10),
    "many classes, few rows of each": lambda: made(240, 20, 40, n_informative=15, class_sep=3.0),
    "classes that overlap": lambda: made(class_sep=0.1, flip_y=0.3),
    "classes far apart": lambda: made(class_sep=20.0),
    "imbalanced": lambda: made(200, weights=[0.9, 0.07, 0.03]),
    "fewer rows than features": lambda: made(30, 80),
    "few rows": lambda: made(9, 8),
    "one feature": lambda: Table(made().X[:, :1], made().y),
    "duplicated rows": lambda: twice(made(80)),
    "collinear": lambda: beside(made(), made().X @ np.ones((12, 2)), made().X[:, :3]),
    "constant features": lambda: beside(made(), np.full((150, 3), [0, 1, -7])),
    "a large offset": lambda: Table(made().X + np.float32(100), made().y),
    "unequal scales": lambda: Table(made().X * np.logspace(-2, 2, 12, dtype=np.float32), made().y),
    "labels with gaps": lambda: Table(made().X, made().y * 7 + 3),
    "counts with many zeros": lambda: Table(np.maximum(made().X, 0).round(), made().y),
}


@cache
def table(name: str) -> Table:
    return TABLES[name]()


class TargetsByKernel:
    """scikit-learn's kernel ridge regression on targets of +-1, as a classifier."""

    def __init__(self, **options: Any) -> None:
        self.machine = KernelRidge(**options)

    def fit(self, X: np.ndarray, y: np.ndarray) -> TargetsByKernel:
        self.classes_ = np.unique(y)
        targets = 2.0 * (y[:, None] == self.classes_) - 1
        self.mean = targets.mean(axis=0)
        self.machine.fit(X, targets - self.mean)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.machine.predict(X) + self.mean)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])


class Pair(NamedTuple):
    """A head and its counterpart."""

    kind: str
    params: dict[str, Any]
    theirs: Callable[[], Any]


PAIRS = {
    "ridge": Pair("ridge", {"alpha": 1.0, "standardize": False}, lambda: RidgeClassifier(alpha=1.0, solver="svd")),
    "lda": Pair("lda", {}, lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
    "lda, half": Pair(
        "lda", {"shrinkage": 0.5}, lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)
    ),
    "logistic": Pair(
        "logistic", {"C": 0.1, "max_iter": 10_000},
        lambda: LogisticRegression(C=0.1, solver="newton-cg", tol=1e-8, max_iter=10_000),
    ),
    "nearest_mean": Pair("nearest_mean", {}, NearestCentroid),
    "svm, linear": Pair(
        "svm", {"kernel": "linear", "C": 1.0}, lambda: SVC(kernel="linear", C=1.0, break_ties=True)
    ),
    "svm, rbf": Pair("svm", {"C": 10.0}, lambda: SVC(C=10.0, break_ties=True)),
    "kernel_ridge": Pair(
        "kernel_ridge", {"alpha": 0.5, "gamma": 0.05}, lambda: TargetsByKernel(alpha=0.5, kernel="rbf", gamma=0.05)
    ),
}  # fmt: skip


NEAR = {"svm": 1e-3}
"""How near the first two decisions may be for either class to be right: what the solver leaves open; others 1e-6."""


def parts(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two thirds of a table to fit on, and the features of all of it."""
    data = table(name)
    chosen = np.arange(len(data.y)) % 3 > 0
    return data.X[chosen], data.y[chosen], data.X


@cache
def fitted(pair: str, name: str) -> Any:
    X, y, _ = parts(name)
    return make_head(PAIRS[pair].kind, PAIRS[pair].params).fit(X, y)


def margins(decisions: np.ndarray) -> np.ndarray:
    """By how much the first class is ahead of the second, (n,)."""
    if decisions.ndim == 1:
        return np.asarray(2 * np.abs(decisions))
    first = np.sort(decisions, axis=1)
    return np.asarray(first[:, -1] - first[:, -2])


@pytest.mark.parametrize("pair", PAIRS)
def test_predictions_are_scikit_learns(pair: str) -> None:
    near = NEAR.get(PAIRS[pair].kind, 1e-6)
    for name in TABLES:
        X, y, rows = parts(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of features that are constant, which is meant
            theirs = PAIRS[pair].theirs().fit(X.astype(np.float64), y)
            expected = theirs.predict(rows.astype(np.float64))
            sure = margins(theirs.decision_function(rows.astype(np.float64))) > near
        found = fitted(pair, name).predict(rows)
        assert sure.mean() > 0.9, name
        assert np.array_equal(found[sure], expected[sure]), name


def test_the_probabilities_of_svm_are_the_softmax_of_scikit_learns_decision() -> None:
    for pair, name in (("svm, linear", "wine"), ("svm, rbf", "ten classes"), ("svm, linear", "digits, 0 to 1")):
        X, y, rows = parts(name)
        decision = PAIRS[pair].theirs().fit(X.astype(np.float64), y).decision_function(rows.astype(np.float64))
        np.testing.assert_allclose(fitted(pair, name).predict_proba(rows), softmax(decision), atol=1e-3)


@pytest.mark.parametrize("pair", ["ridge", "lda", "logistic", "nearest_mean", "svm, linear"])
def test_layers_predict_what_the_head_predicts(pair: str) -> None:
    import_tensorflow()
    import keras

    for name in ("digits, 0 to 16", "breast cancer", "iris", "many classes, few rows of each", "labels with gaps"):
        head, rows = fitted(pair, name), parts(name)[2]
        tensor = keras.Input(rows.shape[1:])
        layers = keras.Model(tensor, head.keras_layers_(tensor))
        found, expected = softmax(np.asarray(layers(rows, training=False))), head.predict_proba(rows)
        sure = margins(expected) > 1e-4
        assert sure.mean() > 0.9, name
        assert np.array_equal(found.argmax(1)[sure], expected.argmax(1)[sure]), name
        assert np.median(np.abs(found - expected).max(axis=1)) < 1e-4, name
