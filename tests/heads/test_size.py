"""How many numbers a head holds, against counts by hand."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank import make_head


def test_layers(fitted: Any) -> None:
    assert fitted("softmax").n_parameters_ == 98 * 3 + 3
    assert fitted("mlp").n_parameters_ == 98 * 16 + 16 + 16 * 3 + 3


@pytest.mark.parametrize(
    ("kind", "params", "count"),
    [
        ("logistic", {}, 98 * 3 + 3),
        ("logistic", {"pca": 4}, 98 * 3 + 3),
        ("ridge", {"standardize": True}, 98 * 3 + 3),
        ("nearest_mean", {}, 98 * 3 + 3),
        ("nearest_mean", {"calibrate": "temperature"}, 98 * 3 + 3 + 1),
        ("sklearn.linear_model:LogisticRegression", {"pca": 4}, 98 * 4 + 98 + 4 * 3 + 3),
        ("sklearn.linear_model:RidgeClassifier", {"standardize": True}, 2 * 98 + 98 * 3 + 3),
        ("sklearn.neighbors:NearestCentroid", {}, 98 * 3),
        ("knn", {}, 90 * 98),
        ("sklearn.naive_bayes:GaussianNB", {}, 2 * 98 * 3),
    ],
)
def test_scikit_learn(kind: str, params: dict[str, Any], count: int, sample: Any) -> None:
    assert make_head(kind, params).fit(sample.X, sample.y, sample.validation).n_parameters_ == count


def test_support_vectors(fitted: Any, sample: Any) -> None:
    estimator = make_head("sklearn.svm:SVC").fit(sample.X, sample.y)
    count = len(estimator.estimator_.support_)
    assert estimator.n_parameters_ == count * 98 + 2 * count + 3
    assert fitted("svm").n_parameters_ >= len(fitted("svm").support_vectors_) * 98


def test_trees(fitted: Any, sample: Any) -> None:
    trees = fitted("random_forest").estimator_.estimators_
    leaves = sum(tree.get_n_leaves() for tree in trees)
    nodes = sum(tree.tree_.node_count for tree in trees)
    assert fitted("random_forest").n_parameters_ == 2 * (nodes - leaves) + 3 * leaves
    stump = make_head("xgboost", {"n_estimators": 1, "max_depth": 1}).fit(sample.X, sample.y)
    assert stump.n_parameters_ == 3 * (2 + 2), "three classes, a split and two leaves for each"


def test_what_cannot_be_told(sample: Any) -> None:
    head = make_head("sklearn.dummy:DummyClassifier").fit(sample.X, sample.y)
    assert head.n_parameters_ is None
