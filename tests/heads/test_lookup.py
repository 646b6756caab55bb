"""Every parameter of every kind of head can be looked up, with its default and a meaning."""

from __future__ import annotations

import pytest

from featurebank import make_head
from featurebank.errors import UnknownNameError
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.lookup import list_parameters


def test_every_kind_is_listed_with_what_it_needs() -> None:
    for name, kind in HEADS.items():
        assert (kind.name, kind_of(name)) == (name, kind)
        assert kind.needs == make_head(name).needs
        assert kind.what
    assert kind_of("tail").needs == "maps at a cut"


@pytest.mark.parametrize("kind", [*HEADS, "sklearn.svm:LinearSVC", "sklearn.ensemble:ExtraTreesClassifier"])
def test_every_parameter_has_its_default_and_a_meaning(kind: str) -> None:
    found = {parameter.name: parameter for parameter in list_parameters(kind_of(kind))}
    assert {*kind_of(kind).default_params, "calibrate", "sample_weight"} == set(found)
    for name, parameter in found.items():
        assert parameter.default == kind_of(kind).default_params.get(name)
        assert len(parameter.meaning) > 5, name
        assert not parameter.meaning.startswith(("see `T", "see `N", "see `K", "see `L", "see `M")), name


def test_defaults_of_a_kind_are_its_own() -> None:
    assert {p.name: p.default for p in list_parameters(kind_of("xgboost_pca"))}["pca"] == 128
    assert {p.name: p.default for p in list_parameters(kind_of("ridge"))}["alpha"] == 1000.0


def test_defaults_are_compared_with_scikit_learns() -> None:
    assert kind_of("logistic").differing_defaults() == {"C": (0.1, 1.0), "max_iter": (1000, 100)}
    assert kind_of("svm").differing_defaults() == {"C": (10.0, 1.0)}
    assert kind_of("random_forest").differing_defaults() == kind_of("softmax").differing_defaults() == {}
    assert kind_of("sklearn.svm:LinearSVC").differing_defaults() == {}


def test_which_kinds_weight_images() -> None:
    assert {kind for kind in HEADS if not HEADS[kind].weights_images} == {"knn"}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("mpl", "did you mean 'mlp'"),
        ("qqq", "see 'featurebank heads --list'; or the import path of a classifier"),
        ("sklearn.svm.LinearSVC", "the class comes after a colon, as 'sklearn.svm:LinearSVC'"),
    ],
)
def test_what_is_no_kind(kind: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        list_parameters(kind_of(kind))
