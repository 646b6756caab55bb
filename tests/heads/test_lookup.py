"""Every parameter of every kind of head can be looked up, with its default and a meaning."""

from __future__ import annotations

import pytest

from featurebank.errors import UnknownNameError
from featurebank.heads.catalog import default_params, make_head
from featurebank.heads.kinds import HEADS
from featurebank.heads.lookup import list_kinds, list_parameters, needs_of


def test_every_kind_is_listed_with_what_it_needs() -> None:
    kinds = {kind.name: kind for kind in list_kinds()}
    assert list(kinds) == list(HEADS)
    for name, kind in kinds.items():
        assert kind.needs.startswith("maps") == getattr(make_head(name), "needs_map", False)
        assert kind.what == HEADS[name].what
    assert needs_of("tail") == "maps at a cut"


@pytest.mark.parametrize("kind", [*HEADS, "sklearn.svm:LinearSVC", "sklearn.ensemble:ExtraTreesClassifier"])
def test_every_parameter_has_its_default_and_a_meaning(kind: str) -> None:
    found = {parameter.name: parameter for parameter in list_parameters(kind)}
    assert {*default_params(kind), "calibrate"} == set(found)
    for name, parameter in found.items():
        assert parameter.default == default_params(kind).get(name)
        assert len(parameter.meaning) > 5, name
        assert not parameter.meaning.startswith(("see `T", "see `N", "see `K", "see `L", "see `M")), name


def test_defaults_of_a_kind_are_its_own() -> None:
    assert {p.name: p.default for p in list_parameters("xgboost_pca")}["pca"] == 128
    assert {p.name: p.default for p in list_parameters("ridge")}["alpha"] == 1000.0


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
        list_parameters(kind)
