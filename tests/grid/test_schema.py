"""The schema of grid files accepts what featurebank reads, and refuses unknown names as it does."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from featurebank import make_head
from featurebank.errors import FeatureBankError
from featurebank.grid.files import NOT_PARAMETERS, built_in_grids
from featurebank.grid.schema import grid_schema, parameter_schemas
from featurebank.heads.catalog import HEADS
from featurebank.heads.needs import MAPS_AT_A_CUT
from featurebank.training.common_parameters import CALIBRATE, SAMPLE_WEIGHT

SCHEMA = grid_schema()
VALIDATOR = Draft7Validator(SCHEMA)
VALUES = (True, False, 0, 1, 3, 0.5, 2.5, -1, "auto", "relu", "balanced", [0.5, 1.0], [1, 2], [256, 128], {"a": 2.0})
"""Values of all kinds, of which each parameter accepts some."""

every_kind = pytest.mark.parametrize("kind", HEADS)


def is_valid(**block: Any) -> bool:
    return bool(VALIDATOR.is_valid({"head": [block]}))


def known_names() -> list[tuple[str, str]]:
    return [(kind, name) for kind in HEADS for name in (*HEADS[kind].parameter_names, "tap", "name")]


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", built_in_grids())
def test_each_built_in_grid_is_valid(name: str) -> None:
    value = tomllib.loads(built_in_grids()[name].read_text(encoding="utf-8"))
    assert list(VALIDATOR.iter_errors(value)) == []


@every_kind
def test_each_parameter_is_described_and_its_default_valid(kind: str) -> None:
    for name, schema in parameter_schemas(HEADS[kind]).items():
        assert schema["description"].endswith("."), name
        default = schema.get("default")
        assert default is None or is_valid(kind=kind, **{name: [default] if isinstance(default, list) else default})


@every_kind
def test_a_value_that_a_head_accepts_is_valid(kind: str) -> None:
    """The reverse need not hold: some rules need other parameters, the classes or a bank."""
    accepted = 0
    for name in set(HEADS[kind].parameter_names) - {CALIBRATE, SAMPLE_WEIGHT}:  # a grid checks these, not a head
        for value in VALUES:
            try:
                make_head(kind, {name: value}).check()
            except FeatureBankError:
                continue
            accepted += 1
            assert is_valid(kind=kind, **{name: value}), (name, value)
            assert is_valid(kind=kind, **{name: [value, value]}), (name, value)
    assert accepted > 3 or HEADS[kind].needs == MAPS_AT_A_CUT  # these need a backbone for everything


@settings(max_examples=60)
@given(st.sampled_from(known_names()), st.integers(0, 40), st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
def test_a_misspelt_name_is_refused_as_by_the_reader(known: tuple[str, str], place: int, letter: str) -> None:
    kind, name = known
    wrong = name[: place % len(name)] + letter + name[place % len(name) :]
    names = {*HEADS[kind].parameter_names, *NOT_PARAMETERS}
    is_known = wrong in names
    assert (not HEADS[kind].wrong_names([wrong] if wrong not in NOT_PARAMETERS else [])) == is_known
    assert not is_valid(kind=kind, **{wrong: object}) or is_known


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"head": []},
        {"head": [{}]},
        {"head": [{"kind": "softmacks"}]},
        {"head": [{"kind": ["softmax"]}]},
        {"head": [{"kind": "softmax"}], "seeds": 3},
        {"head": [{"kind": "softmax", "epochs": []}]},
        {"head": [{"kind": "softmax", "epochs": 0}]},
        {"head": [{"kind": "softmax", "optimizer": "adan"}]},
    ],
)
def test_a_wrong_file_is_refused(value: Any) -> None:
    assert not VALIDATOR.is_valid(value)


def test_any_head_by_import_path_is_allowed() -> None:
    assert is_valid(kind="sklearn.svm:LinearSVC", C=[0.1, 1.0], tap="pooled", anything={"at": "all"})
    assert is_valid(kind="my_heads:Mine")
