"""XGBoost's files are checked before XGBoost reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost

from featurebank.heads.boosted import XGBoostHead
from featurebank.heads.storage.booster_file import _check_model, _Reader, check_booster

X = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
Y = np.repeat([0, 1, 2], 30)


@pytest.fixture(scope="module")
def booster() -> Any:
    return XGBoostHead(n_estimators=3, max_depth=3).fit(X, Y).booster_


@pytest.fixture
def model(booster: Any) -> Any:
    raw = json.loads(bytes(booster.save_raw("json")))
    return raw["learner"]["gradient_booster"]["model"]


def test_it_reads_what_xgboost_writes(booster: Any) -> None:
    """UBJSON and JSON of one booster say the same."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        if isinstance(value, list | np.ndarray):
            return [plain(part) for part in value]
        return float(value) if isinstance(value, np.generic | int | float) else value

    found = _Reader(bytes(booster.save_raw("ubj"))).value()
    expected = json.loads(bytes(booster.save_raw("json")))
    both = [plain(part["learner"]["gradient_booster"]["model"]) for part in (found, expected)]
    trees = [part.pop("trees") for part in both]
    assert both[0] == both[1]
    for one, other in zip(*trees, strict=True):
        assert {key: value for key, value in one.items() if "children" in key} == {
            key: value for key, value in other.items() if "children" in key
        }
        assert np.allclose(one["split_conditions"], other["split_conditions"], rtol=1e-6)


def test_a_sound_booster_passes(booster: Any) -> None:
    check_booster(bytes(booster.save_raw("ubj")), 4, 3)
    with pytest.raises(ValueError, match="its features"):
        check_booster(bytes(booster.save_raw("ubj")), 5, 3)


def test_a_booster_of_two_classes_has_one_output() -> None:
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    options = {"objective": "binary:logistic", "max_depth": 2, "tree_method": "hist"}
    raw = bytes(xgboost.train(options, xgboost.QuantileDMatrix(X, y), 3).save_raw("ubj"))
    check_booster(raw, 4, 2)
    with pytest.raises(ValueError, match="two classes"):
        check_booster(raw, 4, 3)


def test_a_booster_of_lines_is_refused() -> None:
    options = {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3}
    lines = xgboost.train(options, xgboost.DMatrix(X, Y), 1)
    with pytest.raises(ValueError, match="a booster of trees"):
        check_booster(bytes(lines.save_raw("ubj")), 4, 3)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("left_children", 0, 0), ("left_children", 0, 10**6), ("right_children", 0, -5), ("split_indices", 0, 4),
        ("split_indices", 0, -1), ("parents", 1, 2), ("parents", 0, 0), ("split_type", 0, 1),
    ],
)  # fmt: skip
def test_a_tree_that_is_not_sound_is_refused(model: Any, name: str, place: int, value: int) -> None:
    _check_model(model, 4, 3)
    model["trees"][0][name][place] = value
    with pytest.raises(ValueError, match="expected"):
        _check_model(model, 4, 3)


@pytest.mark.parametrize(("name", "value"), [("tree_info", 3), ("tree_info", -1), ("iteration_indptr", 7)])
def test_trees_of_no_class_are_refused(model: Any, name: str, value: int) -> None:
    model[name][0] = value
    with pytest.raises(ValueError, match="expected"):
        _check_model(model, 4, 3)


@pytest.mark.parametrize("data", [b"", b"{", b"[", b"[$d#L" + b"\x7f" * 8, b"{" * 10_000, b"[#" * 500, b"S", b"x"])
def test_broken_bytes_end_in_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, IndexError)):
        check_booster(data, 4, 3)
