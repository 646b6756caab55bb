"""Monitors: which there are, and that each is the metric that the run records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import featurebank as fb
from featurebank.bank import Bank
from featurebank.errors import HeadError, UnknownNameError
from featurebank.heads.maps.conv import ConvHead
from featurebank.heads.maps.pooling import GemPoolHead
from featurebank.metrics import METRICS, metric_of
from featurebank.metrics.metric import averaged
from featurebank.training.monitors import monitor_check, monitor_of

pytestmark = pytest.mark.heavy


def test_every_metric_of_validation_images_can_be_monitored() -> None:
    assert all(monitor_check(monitor_of(name)).holds for name in [*METRICS, "log_loss", "recall:cat", "cost:a.csv"])
    wrong = ["loss", "auroc", "val_aurok", "val_recall:", "val_recall", 3]
    assert not any(monitor_check(value).holds for value in wrong)


@pytest.mark.parametrize("where", ["bank", "blocks"])
def test_heads_of_one_program_each_stop_by_their_own_metric(
    make_bank: Callable[..., Bank], set_ram: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The recorded value of the best epoch is the metric of the run, and no other epoch had a better one."""
    bank = make_bank(noise=5.0, splits=(120, 60, 30))
    if where == "blocks":
        monkeypatch.setattr("featurebank.fitting.data.load_features", _stored)
    names = ["auroc", "macro_f1", "brier", f"recall:{bank.classes[2]}", "accuracy", "loss"]
    grid = [{"kind": "mlp", "hidden_units": 8, "epochs": 6, "learning_rate": 0.03, "monitor": monitor_of(name)}
            for name in names]  # fmt: skip
    runs = {run.params.get("monitor", "val_loss"): run for run in fb.train_heads(bank, grid)}
    assert {run.together for run in runs.values()} == {len(names)}
    for name in names[:4]:
        metric, run = metric_of(name, bank.classes), runs[monitor_of(name)]
        assert run.history is not None
        curve = run.history[monitor_of(name)]
        best = run.history["best_epoch"]
        assert curve[best - 1] == pytest.approx(metric.recorded(run.metrics["val"]), abs=1e-5)
        assert metric.goodness(curve[best - 1]) == max(map(metric.goodness, curve))
        assert best == 1 + int(np.argmax([metric.goodness(value) for value in curve])), "the first of equal ones"


def _stored(bank: Bank, tap: str, positions: np.ndarray, *, views: int = 0, beside: int = 0, **more: Any) -> Any:
    from featurebank.heads.streamed.vectors import StoredVectors

    return StoredVectors(bank, tap, positions, 1 + views), ()


@pytest.mark.parametrize(
    "head",
    [
        ConvHead(filters=4, kernel_size=1, epochs=3, monitor="val_macro_f1"),
        GemPoolHead(epochs=3, monitor="val_macro_f1"),
    ],
    ids=["conv", "gem"],
)
def test_heads_on_maps_monitor_metrics(head: Any) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 3
    X = (random.normal(size=(40, 2, 2, 3)) + np.eye(3)[labels][:, None, None]).astype(np.float32)
    head.fit(X[:25], labels[:25], validation_data=(X[25:], labels[25:]))
    expected = metric_of("macro_f1").of(images_of(head.predict_proba(X[25:]), labels[25:]))
    assert head.history_.monitored[head.history_.best_epoch - 1] == pytest.approx(expected)
    restored = type(head)(**head.get_params()).set_state(head.state(), head.classes_)
    assert restored is None


def images_of(probabilities: np.ndarray, labels: np.ndarray) -> Any:
    from featurebank.metrics import ImageScores

    return ImageScores.of(probabilities, labels)


def test_labels_are_names_of_classes_for_heads_alone() -> None:
    random = np.random.default_rng(0)
    labels = np.array(["cat", "dog", "owl"])[np.arange(60) % 3]
    X = (random.normal(size=(60, 3)) + np.eye(3)[np.arange(60) % 3]).astype(np.float32)
    head = fb.make_head("mlp", hidden_units=4, epochs=3, monitor="val_recall:dog")
    head.fit(X[:40], labels[:40], validation_data=(X[40:], labels[40:]))
    recall = np.mean(head.predict(X[40:])[labels[40:] == "dog"] == "dog")
    assert head.history_.monitored[head.history_.best_epoch - 1] == pytest.approx(recall)
    with pytest.raises(UnknownNameError, match="unknown class 'cow'"):
        fb.make_head("mlp", epochs=2, monitor="val_recall:cow").fit(X, labels, validation_data=(X, labels))


def test_an_entry_of_the_table_can_be_monitored(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "made", averaged("made", lambda images: images.confidence, larger_is_better=False))
    grid = [{"kind": "softmax", "epochs": 5, "learning_rate": 0.01, "patience": 2, "monitor": "val_made"}]
    (run,) = fb.train_heads(make_bank(noise=4.0), grid)
    assert run.history is not None
    curve, best = list(run.history["val_made"]), run.history["best_epoch"]
    assert best == 1 + curve.index(min(curve))
    assert len(curve) == min(5, best + 2)


def test_all_wrong_metrics_are_told_at_once_before_anything_is_trained(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    grid = [{"kind": "softmax", "monitor": "val_recall:cow"}, {"kind": "mlp", "monitor": "val_cost:no.csv"}]
    with pytest.raises(fb.errors.ConfigError) as caught:
        fb.train_heads(bank, grid, metric="recall:pig")
    assert all(text in str(caught.value) for text in ("'cow'", "no.csv", "'pig'"))
    with pytest.raises(HeadError, match="monitor is 'auroc'"):
        fb.make_head("softmax", monitor="auroc").check()
