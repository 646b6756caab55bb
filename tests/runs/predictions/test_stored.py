"""The stored predictions of a run: what was written is read, and anything else is as if nothing were stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.bank.maintenance.garbage import collect
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.metrics import METRICS, ImageScores
from featurebank.runs.predictions.stored import load_predictions, predictions_path, save_predictions
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system.sealed_json import seal_archive


def record(folder: Path, images: int) -> RunRecord:
    metrics = {"val": {"accuracy": 0.5, "loss": 1.0, "images": images}, "train": {"accuracy": 1.0}}
    return RunRecord(
        run="0123456789", head="knn", params={}, tap="pooled", seed=0, seconds=1.0, metrics=metrics, bank="",
        created="", directory=folder,
    )  # fmt: skip


def answers(count: int = 30, classes: int = 3) -> ImageScores:
    random = np.random.default_rng(0)
    return ImageScores.of(random.dirichlet(np.ones(classes), count), random.integers(0, classes, count))


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    run, images = record(tmp_path, 30), answers()
    save_predictions(run, images)
    found = load_predictions(run)
    assert found is not None
    for name in ("labels", "predicted", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(images, name))
    for metric in METRICS.values():
        assert metric.of(found) == pytest.approx(metric.of(images), abs=1e-6)


def test_predictions_that_are_damaged_or_of_other_images_are_none(tmp_path: Path) -> None:
    run, images = record(tmp_path, 30), answers()
    assert load_predictions(run) is None
    save_predictions(run, images)
    assert load_predictions(record(tmp_path, 29)) is None
    path = predictions_path(run)
    whole = path.read_bytes()
    for place in (0, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_predictions(run) is None
    path.write_bytes(whole[:-9])
    assert load_predictions(run) is None


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.full(30, -1)},
        {"labels": np.zeros(30)},
        {"labels": np.zeros(30, complex)},
        {"labels": np.full(30, "0")},
        {"labels": np.full(30, 0, object)},
        {"labels": np.zeros(31, int)},
        {"probabilities": np.zeros((30, 3), object)},
        {"probabilities": np.zeros((30, 3, 1))},
        {"probabilities": np.full((30, 3), np.nan)},
        {"probabilities": np.full((30, 3), 9e200)},
        {"probabilities": np.zeros((30, 0))},
        {"bomb": np.zeros(1 << 21)},
    ],
)
def test_predictions_of_strangers_are_none(
    change: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurebank.system.archive.FREE_BYTES", 1 << 20)
    run, images = record(tmp_path, 30), answers()
    path = predictions_path(run)
    path.parent.mkdir()
    whole: dict[str, Any] = {"probabilities": images.probabilities, "labels": images.labels}
    for arrays, is_read in ((whole, True), ({**whole, **change}, False)):
        np.savez_compressed(path, **arrays)
        seal_archive(path)
        assert (load_predictions(run) is not None) == is_read


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_predictions_are_regular_files(tmp_path: Path) -> None:
    run = record(tmp_path, 30)
    path = predictions_path(run)
    path.parent.mkdir()
    os.mkfifo(path)
    assert load_predictions(run) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert load_predictions(run) is None


def test_large_predictions_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = record(tmp_path, 30)
    monkeypatch.setattr("featurebank.runs.predictions.stored.MOST", 89)
    save_predictions(run, answers())
    save_predictions(run, None)
    assert not predictions_path(run).exists()


def test_every_new_run_has_predictions_that_verify_and_gc_know(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    train_heads(bank, [{"kind": "knn"}, {"kind": "ridge", "calibrate": "temperature"}], folds=2)
    runs = load_runs(bank)
    for run in runs:
        images = load_predictions(run)
        assert images is not None
        np.testing.assert_array_equal(images.right, run.rights())
        assert METRICS["loss"].of(images) == pytest.approx(run.metrics["val"]["loss"], abs=1e-6)
    assert verify_bank(bank.path).damaged == ()
    path = predictions_path(runs[0])
    path.write_bytes(path.read_bytes()[:-40])
    (line,) = verify_bank(bank.path).damaged + verify_bank(bank.path).unknown
    assert path.name in line
    collect(bank.path)
    assert all(predictions_path(run).exists() for run in runs), "only predictions without a record are garbage"
