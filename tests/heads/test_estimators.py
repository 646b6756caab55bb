"""What the wrapper adds to a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from featurebank import make_head
from featurebank.errors import HeadError
from featurebank.heads.estimators import EstimatorHead


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("pca", [None, 4])
def test_it_is_the_pipeline_that_one_would_write(hard: Any, standardize: bool, pca: int | None) -> None:
    head = EstimatorHead(LogisticRegression(C=0.1), standardize=standardize, pca=pca, random_state=3)
    steps = [
        *([StandardScaler()] * standardize),
        *([PCA(pca, random_state=3)] if pca else []),
        LogisticRegression(C=0.1),
    ]
    theirs = make_pipeline(*steps).fit(hard.X, hard.y).predict_proba(hard.X_val)
    np.testing.assert_allclose(head.fit(hard.X, hard.y).predict_proba(hard.X_val), theirs, atol=1e-5)


def test_the_estimator_given_stays_unfitted(sample: Any) -> None:
    estimator = KNeighborsClassifier()
    EstimatorHead(estimator).fit(sample.X, sample.y)
    assert not hasattr(estimator, "classes_")


def test_the_seed_reaches_the_estimator(sample: Any) -> None:
    head = EstimatorHead(Perceptron(random_state=99), random_state=3).fit(sample.X, sample.y)
    assert head.estimator_.random_state == 3
    assert head.estimator.random_state == 99


@pytest.mark.parametrize("pca", [0, -1, 91])
def test_components_that_are_not_there(sample: Any, pca: int) -> None:
    with pytest.raises(HeadError, match=rf"pca is {pca}, expected (1 to 90|a whole number of 1 or more)"):
        EstimatorHead(LogisticRegression(), pca=pca).fit(sample.X, sample.y)


def test_a_decision_function_becomes_its_softmax(hard: Any) -> None:
    head = EstimatorHead(RidgeClassifier()).fit(hard.X, hard.y)
    decision = head.estimator_.decision_function(hard.X_val)
    expected = np.exp(decision) / np.exp(decision).sum(1, keepdims=True)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), expected, rtol=1e-5)


def test_a_decision_between_two_classes_becomes_its_sigmoid(pair: Any) -> None:
    head = EstimatorHead(SVC()).fit(pair.X, pair.y)
    decision = head.estimator_.decision_function(pair.X_val)
    np.testing.assert_allclose(head.predict_proba(pair.X_val)[:, 1], 1 / (1 + np.exp(-decision)), rtol=1e-5)
    assert np.array_equal(head.predict(pair.X_val), head.classes_[head.estimator_.predict(pair.X_val)])


class Bare(ClassifierMixin, BaseEstimator):
    """Tells classes alone, no probabilities and no decision."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Bare:
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == label].mean(0) for label in self.classes_])
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.classes_[((X[:, None] - self.means_) ** 2).sum(2).argmin(1)])


class Scaled(Bare):
    """A class of a user's own: it has scikit-learn's base, but no table of what its parameters may be."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale


def test_a_class_without_a_table_of_its_parameters_takes_any_value() -> None:
    assert not list(EstimatorHead(Scaled(2.0)).wrong_values(["scale"]))
    assert list(EstimatorHead(SVC(C=-1.0)).wrong_values(["C"]))


def test_an_estimator_that_only_predicts_is_certain(sample: Any) -> None:
    head = EstimatorHead(Bare()).fit(sample.X, sample.y)
    probabilities = head.predict_proba(sample.X_val)
    assert set(np.unique(probabilities)) == {0.0, 1.0}
    assert np.array_equal(head.predict(sample.X_val), head.classes_[head.estimator_.predict(sample.X_val)])


@pytest.mark.parametrize("labels", [(1, 4, 7), ("ant", "bee", "cow")])
@pytest.mark.parametrize("kind", ["xgboost:XGBClassifier", "sklearn.linear_model:LogisticRegression", "knn"])
def test_labels_with_gaps_are_no_matter(kind: str, labels: tuple[Any, ...], sample: Any) -> None:
    y = np.array(labels)[np.searchsorted((2, 5, 9), sample.y)]
    head = make_head(kind).fit(sample.X, y)
    assert head.classes_.tolist() == sorted(labels)
    expected = np.array(labels)[np.searchsorted((2, 5, 9), sample.y_val)]
    assert np.mean(head.predict(sample.X_val) == expected) > 0.8


def test_class_weights_are_those_of_the_labels(hard: Any) -> None:
    weights = {2: 0.1, 5: 30.0, 9: 1.0}
    head = make_head("sklearn.linear_model:LogisticRegression", {"class_weight": {**weights, 11: 3.0}})
    theirs = LogisticRegression(class_weight=weights).fit(hard.X, hard.y)
    found = head.fit(hard.X, hard.y).predict_proba(hard.X_val)
    np.testing.assert_allclose(found, theirs.predict_proba(hard.X_val), atol=1e-5)
    assert head.get_params()["estimator__class_weight"] == {**weights, 11: 3.0}
