"""Heads take the memory that --ram allows, or say beforehand that they would not; scores are made in blocks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featurebank import make_head, train_heads
from featurebank.bank import Bank
from featurebank.errors import RamLimitError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.catalog import kind_of
from featurebank.heads.exact.closed_form import RidgeHead
from featurebank.heads.needs import VECTORS
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("kind", ["nearest_mean", "ridge", "lda"])
def test_memory_does_not_grow_with_images_times_classes(kind: str) -> None:
    images, classes, width = 16_000, 2_000, 12
    y = np.arange(images) % classes
    means = np.random.default_rng(0).normal(size=(classes, width))
    X = means[y].astype(np.float32) + np.random.default_rng(1).normal(0, 0.01, (images, width)).astype(np.float32)
    data = TrainingData("pooled", X[4000:], y[4000:], X[:4000], y[:4000], classes)
    found: list[Fitted] = []
    tracemalloc.start()
    try:
        spec = HeadSpec(kind, kind_of(kind).full_params({}), "pooled")
        fit_heads([(spec, 0)], data, lambda _, fitted: found.append(fitted))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[0].failure is None
    assert found[0].metrics["val"]["accuracy"] > 0.2, "far above chance, .0005"
    assert peak < 8 * images * classes / 2, "not even half of one table of scores"


LARGE: list[tuple[str, dict[str, Any]]] = [
    ("softmax", {"epochs": 1}),
    ("mlp", {"hidden_units": 10**7}),
    ("logistic", {}),
    ("nearest_mean", {}),
    ("lda", {}),
    ("svm", {}),
    ("xgboost", {}),
    ("conv", {"hidden_units": 10**7}),
    ("attention_pool", {"hidden_units": [10**7, 10**7]}),
    ("cam", {}),
    ("residual_stage", {"hidden_units": 10**7}),
    ("residual_stage", {"blocks": 10**6}),
]


@pytest.mark.parametrize(("kind", "params"), LARGE, ids=[f"{kind} {params}" for kind, params in LARGE])
def test_what_ram_does_not_allow_is_told_before_it_begins(
    kind: str, params: dict[str, Any], sample: Any, maps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "featurebank.system.runtime._ram_limit",
        10**9 if params and "epochs" not in params else 30_000 if kind != "cam" else 500,
    )
    monkeypatch.setattr("featurebank.heads.memory.UNCOUNTED", 0)
    data = maps if kind_of(kind).needs != VECTORS else sample
    with pytest.raises(RamLimitError, match=r"^\w+ needs [\d.]+ [kMGT]?B of memory .* --ram allows: use fewer"):
        make_head(kind, params).fit(data.X, data.y)


def test_one_head_that_is_too_large_leaves_the_others_alone(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 10**9)
    data = TrainingData("pooled", sample.X, sample.y, sample.X_val, sample.y_val, 10)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("mlp", {"hidden_units": 10**7}), ("softmax", {"epochs": 2}), ("nearest_mean", {}),
    ]  # fmt: skip
    found: dict[int, Fitted] = {}
    specs = [(HeadSpec(kind, kind_of(kind).full_params(params), "pooled"), 0) for kind, params in kinds]
    fit_heads(specs, data, found.__setitem__)
    assert [bool(found[place].failure) for place in range(3)] == [True, False, False]
    assert [found[place].short for place in range(3)] == [True, False, False]
    assert "MLPHead needs" in str(found[0].failure)


def test_want_of_memory_is_no_failure_for_good(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    bank, grid = make_bank(), [{"kind": "ridge"}, {"kind": "nearest_mean"}]

    def short(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(RidgeHead, "_solve", short)
        runs = train_heads(bank, grid)
    assert [(run.head, run.failure) for run in runs] == [("nearest_mean", None), ("ridge", "MemoryError: MemoryError")]
    assert [run.head for run in load_runs(bank)] == ["nearest_mean"], "nothing is recorded"
    assert {run.head: run.failure for run in train_heads(bank, grid)} == {"nearest_mean": None, "ridge": None}
