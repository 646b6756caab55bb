"""Heads by name: what is known, what is not, and what is told then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from featurebank import make_head
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.needs import VECTORS
from featurebank.heads.neural.softmax import SoftmaxHead


def test_parameters_reach_the_head() -> None:
    head = make_head("softmax", {"learning_rate": 0.5}, random_state=4)
    assert isinstance(head, SoftmaxHead)
    assert (head.learning_rate, head.random_state) == (0.5, 4)


def test_parameters_reach_the_estimator_and_the_steps_before_it() -> None:
    head = make_head("random_forest", {"max_depth": 3, "pca": 5}, random_state=4)
    assert (head.estimator.max_depth, head.pca, head.random_state) == (3, 5, 4)


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
        ("", "see 'featurebank heads --list'; or the import path"),
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
        ("sklearn.svm:LinearSVC", "c", "C|see 'featurebank heads --list sklearn"),
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
    on_maps = {"conv", "attention_pool", "gem_pool", "cam", "tail", "residual_stage"}
    assert {kind for kind in HEADS if kind_of(kind).is_neural} == {"softmax", "mlp", *on_maps}
    assert {kind for kind in HEADS if (kind_of(kind).needs != VECTORS)} == on_maps
    assert {kind for kind in HEADS if kind_of(kind).is_random} == {
        "softmax", "mlp", "random_forest", "xgboost", "xgboost_pca", "xgboost_coarse", *on_maps,
    }  # fmt: skip
    assert kind_of("sklearn.ensemble:ExtraTreesClassifier").is_random
    assert not kind_of("sklearn.naive_bayes:GaussianNB").is_random


def test_kinds_without_chance_do_not_follow_the_seed(sample: Any) -> None:
    for kind in ("logistic", "ridge", "lda", "svm", "kernel_ridge", "knn", "nearest_mean"):
        one, other = (make_head(kind, random_state=seed).fit(sample.X, sample.y) for seed in (0, 1))
        assert (one.predict_proba(sample.X_val) == other.predict_proba(sample.X_val)).all()


@pytest.mark.parametrize("kind", [*HEADS, "sklearn.svm:LinearSVC"])
def test_a_record_holds_every_parameter_but_the_seed(kind: str) -> None:
    found = kind_of(kind).full_params({})
    json.dumps(found, allow_nan=False)
    assert not {"random_state", "n_jobs"} & set(found)
    one, other = make_head(kind, found).get_params(), make_head(kind).get_params()
    assert {name: one[name] for name in one if name != "estimator"} == {
        name: other[name] for name in other if name != "estimator"
    }
    assert kind_of(kind).changed_params(found) == {}


def test_what_is_given_goes_before_the_defaults() -> None:
    found = kind_of("random_forest").full_params({"max_depth": 3, "n_jobs": 2})
    assert (found["max_depth"], found["n_jobs"], found["n_estimators"]) == (3, 2, 100)
    assert kind_of("random_forest").changed_params(found) == {"max_depth": 3, "n_jobs": 2}


def test_a_whole_number_is_a_fraction_where_the_default_is_one() -> None:
    assert type(kind_of("softmax").full_params({"l2": 0})["l2"]) is float
    assert type(kind_of("random_forest").full_params({"max_features": 1})["max_features"]) is int


def test_defaults_that_no_record_can_hold_are_left_out() -> None:
    found = kind_of("sklearn.neural_network:MLPClassifier").full_params({})
    assert found["hidden_layer_sizes"] == (100,)
    assert "missing" not in kind_of("xgboost:XGBClassifier").full_params({})  # NaN


def test_a_head_of_a_library_that_is_gone_is_shown_in_full() -> None:
    assert kind_of("gone.away:Head").changed_params({"a": 1}) == {"a": 1}


def test_a_name_that_a_head_refuses_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SoftmaxHead, "refused", {"clipnorm": "leave it out"}, raising=False)
    assert str(kind_of("softmax").wrong_names(["clipnorm"])["clipnorm"]) == (
        "head 'softmax' takes no clipnorm: leave it out"
    )


def test_wrong_names_are_told_one_by_one() -> None:
    found = kind_of("softmax").wrong_names(["l2", "epoch", "random_state"])
    assert set(found) == {"epoch", "random_state"}
    assert "did you mean 'epochs'" in str(found["epoch"])
