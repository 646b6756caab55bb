"""Heads and classifiers as descriptions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from featurebank.errors import ConfigError
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.described import describe_head


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_head_of_each_kind_is_described_by_its_name(name: str) -> None:
    assert describe_head(kind_of(name).make({})) == {"kind": name}


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "svm", "C": 3.0, "kernel": "linear"},
        {"kind": "logistic", "C": 1.0},
        {"kind": "mlp", "hidden_units": [8, 4], "calibrate": "temperature"},
        {"kind": "knn", "n_neighbors": 2, "standardize": True, "pca": 3},
        {"kind": "sklearn.naive_bayes:GaussianNB"},
    ],
)
def test_what_a_description_makes_has_this_description(described: dict[str, Any]) -> None:
    params = {name: value for name, value in described.items() if name != "kind"}
    assert describe_head(kind_of(described["kind"]).make(params)) == described


@pytest.mark.parametrize(
    ("head", "described"),
    [
        (LinearSVC(C=0.5), {"kind": "sklearn.svm:LinearSVC", "C": 0.5}),
        (LogisticRegression(), {"kind": "sklearn.linear_model:LogisticRegression"}),
        (RandomForestClassifier(9, n_jobs=-1, random_state=0, verbose=1), {"kind": "random_forest", "n_estimators": 9}),
        (
            make_pipeline(StandardScaler(), PCA(5), KNeighborsClassifier(3)),
            {"kind": "knn", "n_neighbors": 3, "standardize": True, "pca": 5},
        ),
        (make_pipeline("passthrough", SVC()), {"kind": "sklearn.svm:SVC"}),
    ],
)
def test_classifiers_of_scikit_learn(head: Any, described: dict[str, Any]) -> None:
    assert describe_head(head) == described


class Elsewhere(ClassifierMixin, BaseEstimator):
    """A classifier that claims to be of a notebook."""

    __module__ = "__main__"

    def fit(self, X: Any, y: Any) -> Elsewhere:
        return self

    def predict(self, X: Any) -> Any:
        return X


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (LinearSVC, r"LinearSVC is a class: write LinearSVC\(\)"),
        (Ridge(), "Ridge is no classifier"),
        (KNeighborsClassifier().fit(np.eye(6), [0, 1] * 3), "KNeighborsClassifier is fitted"),
        (kind_of("ridge").make({}).fit(np.eye(6, dtype=np.float32), np.array([0, 1] * 3)), "RidgeHead is fitted"),
        (SVC(random_state=7), r"has random_state=7.*pass seeds=\[7\]"),
        (Elsewhere(), "Elsewhere is defined in this session"),
        (make_pipeline(MinMaxScaler(), SVC()), "a pipeline begins with MinMaxScaler"),
        (make_pipeline(PCA(0.9), SVC()), r"PCA\(n\) with a whole number n"),
        (3, "a head is of type int"),
    ],
)
def test_others_are_refused_in_a_sentence(head: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        describe_head(head)
