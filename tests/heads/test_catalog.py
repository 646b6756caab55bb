"""Heads by name: what is known, what is not, and what is told then."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank.errors import ConfigError, UnknownNameError
from featurebank.heads.catalog import HEADS, full_params, is_neural, is_random, make_head
from featurebank.heads.linear import SoftmaxHead


def test_parameters_reach_the_head() -> None:
    head = make_head("softmax", {"learning_rate": 0.5}, random_state=4)
    assert isinstance(head, SoftmaxHead)
    assert (head.learning_rate, head.random_state) == (0.5, 4)


def test_parameters_reach_the_estimator_and_the_steps_before_it() -> None:
    head = make_head("logistic", {"C": 3.0, "pca": 5}, random_state=4)
    assert (head.estimator.C, head.estimator.max_iter, head.pca, head.random_state) == (3.0, 1000, 5, 4)


@pytest.mark.parametrize("kind", HEADS)
def test_the_defaults_of_every_kind_are_parameters_of_it(kind: str) -> None:
    params = make_head(kind).get_params()
    for name, value in HEADS[kind].defaults.items():
        assert params.get(name, params.get(f"estimator__{name}")) == value


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("sofmax", "did you mean 'softmax'"),
        ("forest", "did you mean 'random_forest'|known: softmax"),
        ("", "known: softmax"),
    ],
)
def test_an_unknown_kind_gets_the_nearest(kind: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        make_head(kind)


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        ("softmax", "learningrate", "learning_rate"),
        ("logistic", "standardise", "standardize"),
        ("knn", "neighbors", "n_neighbors"),
        ("xgboost", "depth", "max_depth"),
        ("sklearn.svm:LinearSVC", "c", "C|known|are known"),
    ],
)
def test_an_unknown_parameter_gets_the_nearest(kind: str, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"parameter of head '{kind}' '{name}'.*{near}"):
        make_head(kind, {name: 1})


def test_all_unknown_parameters_are_told() -> None:
    with pytest.raises(ConfigError, match=r"'epoch'.*'epochs'.*'drop_out'.*'dropout'.*random_state"):
        make_head("softmax", {"epoch": 1, "drop_out": 0.5, "random_state": 3})


@pytest.mark.parametrize("kind", ["softmax", "knn", "sklearn.svm:LinearSVC"])
def test_the_seed_is_no_parameter(kind: str) -> None:
    with pytest.raises(ConfigError, match="takes its seed from --seeds"):
        make_head(kind, {"random_state": 3})


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("nowhere.at_all:Thing", "cannot be imported"),
        ("sklearn.svm:LinearSVD", "cannot be imported"),
        (":LinearSVC", "cannot be imported"),
        ("sklearn.svm:", "cannot be imported"),
        ("math:sqrt", "no classifier class"),
        ("collections:Counter", "no classifier class"),
        ("sklearn.svm:SVR", "is no classifier: "),
        ("sklearn.cluster:KMeans", "is no classifier: "),
        ("sklearn.multiclass:OneVsRestClassifier", "cannot be made from its parameters: .*estimator"),
    ],
)
def test_an_import_path_that_leads_to_no_classifier(kind: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_head(kind)


def test_an_import_path_leads_to_a_classifier() -> None:
    assert make_head("sklearn.svm:LinearSVC", {"C": 2.0}).estimator.C == 2.0


def test_neural_and_random_kinds() -> None:
    assert {kind for kind in HEADS if is_neural(kind)} == {"softmax", "mlp"}
    assert {kind for kind in HEADS if is_random(kind)} == {
        "softmax", "mlp", "random_forest", "xgboost", "xgboost_pca", "xgboost_coarse",
    }  # fmt: skip
    assert is_random("sklearn.ensemble:ExtraTreesClassifier")
    assert not is_random("sklearn.naive_bayes:GaussianNB")


def test_kinds_without_chance_do_not_follow_the_seed(sample: Any) -> None:
    for kind in ("logistic", "ridge", "svm", "knn", "nearest_mean"):
        one, other = (make_head(kind, random_state=seed).fit(sample.X, sample.y) for seed in (0, 1))
        assert (one.predict_proba(sample.X_val) == other.predict_proba(sample.X_val)).all()


def test_a_record_holds_the_defaults_that_are_not_the_classs_own() -> None:
    assert full_params("ridge", {"alpha": 2.0}) == {"standardize": True, "alpha": 2.0}
    assert full_params("softmax", {}) == {}
