"""Heads with epochs: which of them share a program, and how long they are guessed to take."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank import make_head
from featurebank.heads.catalog import HEADS, kind_of

MAP = (7, 7, 64)


def test_every_kind_with_epochs_has_a_family() -> None:
    for kind in HEADS:
        assert kind_of(kind).is_neural == ("epochs" in kind_of(kind).default_params)
    assert kind_of("sklearn.svm:LinearSVC").family is None


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["softmax", "mlp", "softmax"], [[0, 2], [1]]),
        (["conv", "attention_pool", "conv", "gem_pool"], [[0, 2], [1], [3]]),
        (["cam", "cam"], [[0, 1]]),
        (["residual_stage", "residual_stage"], [[0], [1]]),
    ],
)
def test_programs_hold_every_head_once(kinds: list[str], expected: list[list[int]]) -> None:
    heads = [make_head(kind) for kind in kinds]
    assert sorted(heads[0].train_heads.programs(heads, MAP, 5, 100)) == expected


@pytest.mark.parametrize(
    ("kind", "less", "more"),
    [
        ("mlp", {"hidden_units": [64]}, {"hidden_units": [1024, 512]}),
        ("conv", {"filters": 64}, {"filters": [1024, 256]}),
        ("conv", {"kernel_size": 1}, {"kernel_size": 3}),
        ("residual_stage", {"blocks": 1}, {"blocks": 3}),
        ("gem_pool", {}, {"hidden_units": 4096}),
        ("tail", {"cut": "a"}, {"cut": "a", "hidden_units": [100_000]}),
    ],
)
def test_more_layers_take_longer(kind: str, less: dict[str, Any], more: dict[str, Any]) -> None:
    small, large = (make_head(kind, params).cost(100, MAP, 5) for params in (less, more))
    assert 0 < small < large


def test_the_guesses_are_of_the_right_size() -> None:
    """Of what was measured on two cores, within a factor of ten."""
    study_d = {"filters": 1024, "hidden_units": [512, 218]}
    conv = make_head("conv", {**study_d, "epochs": 1}).cost(32, (7, 7, 1280), 200)
    assert 0.1 < conv / 0.21e9 < 10
