"""The families: which heads share a program, and how long they are guessed to take."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank.heads.catalog import HEADS, family_of, full_params, make_head
from featurebank.heads.families import nanoseconds, programs

MAP = (7, 7, 64)


def test_every_kind_with_epochs_has_a_family() -> None:
    for kind in HEADS:
        assert bool(family_of(kind)) == hasattr(make_head(kind), "epochs")
    assert family_of("sklearn.svm:LinearSVC") == ""


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
    assert sorted(programs(family_of(kinds[0]), heads, MAP, 5, 100)) == expected


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
    small, large = (nanoseconds(family_of(kind), full_params(kind, p), MAP, 5) for p in (less, more))
    assert 0 < small < large


def test_the_guesses_are_of_the_right_size() -> None:
    """Of what was measured on two cores, within a factor of ten."""
    study_d = {"filters": 1024, "hidden_units": [512, 218]}
    conv = nanoseconds("maps", full_params("conv", study_d), (7, 7, 1280), 200)
    assert 0.1 < conv * 32 / 0.21e9 < 10
