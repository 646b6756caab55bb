"""Heat maps of images of a bank follow from its stored maps and the weights of the head alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import explain
from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.explanation.heat_maps import heat_maps
from featurebank.runs.refitting import trained_head
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

RunOf = Callable[..., RunRecord]


def heat_by_hand(bank: Bank, run: RunRecord, position: int, label: int) -> np.ndarray:
    """From the head's answers alone: a place's part of the score is what remains when all other places are 0."""
    head, stored = trained_head(bank, run), bank.rows("map", [position])[0]
    height, width, channels = stored.shape
    alone = np.zeros((height * width, height, width, channels), np.float32)
    for number, (y, x) in enumerate(np.ndindex(height, width)):
        alone[number, y, x] = stored[y, x]
    rows = np.concatenate([np.zeros_like(alone[:1]), alone]).astype(np.float64)
    rows = rows if run.tap == "map" else rows.mean(axis=(1, 2))
    logs = np.log(head.predict_proba(rows.astype(np.float32)).astype(np.float64))
    logits = logs[:, label] - logs[:, 1 - label]  # of two classes, each score is half of this
    heat = np.maximum(logits[1:] - logits[0], 0).reshape(height, width)
    return heat / heat.max()


def drawn(bank: Bank, run: RunRecord, label: int) -> tuple[int, np.ndarray]:
    """Returns the position and the heat map of an image of which some part speaks for a class."""
    heats = heat_maps(bank, run, range(len(bank)), [label] * len(bank))
    return next((position, heat) for position, heat in enumerate(heats) if not isinstance(heat, str))


@pytest.mark.parametrize(
    ("kind", "tap", "params"),
    [
        ("ridge", "pooled", {}),
        ("logistic", "pooled", {"standardize": True}),
        ("logistic", "pooled", {"pca": 3}),
        ("ridge", "map", {}),
        ("svm", "pooled", {"kernel": "linear", "C": 0.001}),
        ("nearest_mean", "pooled", {}),
        ("sklearn.linear_model:RidgeClassifier", "pooled", {"standardize": True}),
    ],
)
def test_it_is_each_places_part_of_the_score(
    bank: Bank, run_of: RunOf, kind: str, tap: str, params: dict[str, Any]
) -> None:
    """All of these have scores that sum to the same over two classes, so their difference shows each."""
    run = run_of(kind, tap, **params)
    for label in (0, 1):
        position, heat = drawn(bank, run, label)
        assert heat.dtype == np.float32
        assert heat == pytest.approx(heat_by_hand(bank, run, position, label), abs=2e-3)


def test_heads_on_maps_and_calibrated_heads_have_them(bank: Bank, run_of: RunOf) -> None:
    plain, calibrated = run_of("ridge"), run_of("ridge", calibrate="temperature")
    assert np.array_equal(heat_maps(bank, plain, [5]), heat_maps(bank, calibrated, [5]))
    cam = run_of("cam", "map", epochs=2)
    head = trained_head(bank, cam)
    position, heat = drawn(bank, cam, 1)
    maps = bank.rows("map", [position])
    of_class = np.maximum(head.class_maps(maps)[0, :, :, 1] - head.layers_[0].bias[1], 0)
    assert heat == pytest.approx(of_class / of_class.max(), abs=1e-5)


def test_by_default_they_explain_the_predicted_class(bank: Bank, run_of: RunOf) -> None:
    run = run_of("ridge")
    predicted = trained_head(bank, run).predict(bank.rows("pooled", [1, 2, 3]))
    assert np.array_equal(heat_maps(bank, run, [1, 2, 3]), heat_maps(bank, run, [1, 2, 3], predicted))
    assert heat_maps(bank, run, []) == []


def test_of_an_mlp_they_are_its_grad_cam(bank: Bank, run_of: RunOf, shown: Path) -> None:
    run, positions = run_of("mlp", hidden_units=8, epochs=3), range(0, len(bank), 6)
    heats = heat_maps(bank, run, positions)
    by_keras = explain(run, [shown / bank.ids()[position] for position in positions], layer="last_relu")
    for heat, one in zip(heats, by_keras, strict=True):
        np.testing.assert_allclose(0 if isinstance(heat, str) else heat, one.cells, atol=1e-4)
    assert not all(isinstance(heat, str) for heat in heats)


def test_reasons_why_there_is_none(bank: Bank, run_of: RunOf) -> None:
    trees = run_of("random_forest", n_estimators=3)
    (reason,) = heat_maps(bank, trees, [0])
    assert "random_forest(n_estimators=3) is no linear function of the features of 'pooled'" in reason
    assert f"'featurebank explain {trees.run} IMAGE'" in reason
    assert heat_maps(bank, run_of("ridge"), [0], [2]) == ["class 'cow' has no training images"]


def test_a_run_of_another_bank(bank: Bank, tmp_path: Any, run_of: RunOf) -> None:
    with pytest.raises(HeadError, match="was not trained on"):
        heat_maps(bank, replace(run_of("ridge"), bank="another"), [0])
