"""What a model file stores about its doubts is that of its run's validation images, in every format."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featurebank import export, load_model, predict, train_heads
from featurebank.bank import Bank
from featurebank.certainty.conformal import class_sets
from featurebank.certainty.likeness import Likeness
from featurebank.certainty.scores import doubts
from featurebank.grafting.certainty.calibration import calibrated
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "logistic"}])[0]


def check_agreement(model: LoadedModel, bank: Bank, run: RunRecord, shown: Path) -> None:
    certainty = model.about.certainty
    assert certainty is not None
    assert certainty.likeness is not None
    files = sorted((shown / "val").glob("*/*"))
    found = predict(model, files, coverage=0.5, abstain_at_error=0.9)
    table = run.predictions("val")
    names = {Path(name).name: row for row, name in enumerate(table.ids)}
    order = [names[file.name] for file in files]
    inside = class_sets(table.probabilities[order], certainty.table, 0.5)
    at_limit = np.abs(doubts(table.probabilities[order]) - certainty.table.limit(0.5)) < 1e-4  # rounding decides there
    actual = np.array([[name in one.set for name in model.classes] for one in found if one.set is not None])
    np.testing.assert_array_equal(actual[~at_limit], inside[~at_limit])
    assert at_limit.sum() <= 1
    assert all(one.answered for one in found)
    stored = bank.features(run.tap, "val").reshape(len(table), -1, certainty.likeness.width).mean(axis=1)
    np.testing.assert_allclose([one.likeness for one in found], certainty.likeness.compare(stored[order])[1], atol=0.07)
    assert not any(one.unlike for one in found), "with few validation images, none of them is beyond the limit"


REPEATED = {"onnx", "joined"}
"""Other tests of this folder run these formats, too."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in REPEATED else []) for name in FORMATS]
)
def test_every_format_says_the_same(name: str, run: RunRecord, bank: Bank, shown: Path, tmp_path: Path) -> None:
    model = load_model(export(run, tmp_path / f"model{FORMATS[name].suffix}", proof=False))
    check_agreement(model, bank, run, shown)
    noise = np.random.default_rng(0).integers(0, 256, (4, 14, 14, 3), np.uint8)
    assert model.unlike(noise).tolist() == load_model(tmp_path / f"model{FORMATS[name].suffix}").unlike(noise).tolist()
    assert model.predict_sets(noise, 0.9).shape == (4, 3)


def test_likeness_is_to_the_images_that_the_head_was_trained_on(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(shutil.copytree(bank.path, tmp_path / bank.path.name))
    train, val = (np.flatnonzero(bank.splits() == split) for split in ("train", "val"))
    weights = np.ones(len(bank))
    weights[train[:5]] = 0.0
    monkeypatch.setattr(Bank, "weight_column", "w")
    monkeypatch.setattr(Bank, "_weights", lambda _: weights)
    run = train_heads(bank, [{"kind": "ridge"}])[0]
    certainty = calibrated(bank, replace(run, sample=20), run.load())
    assert certainty is not None
    assert certainty.likeness is not None
    X, labels = bank.features(run.tap), bank.labels()
    expected = Likeness.of(X[train[5:25]], labels[train[5:25]], X[val], None)
    for found, right in zip(certainty.likeness.compare(X), expected.compare(X), strict=True):
        np.testing.assert_array_equal(found, right)
