"""What a file is worth on labelled images is what its predictions are."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import run_command

from featurebank import evaluate, export, load_dataset, load_model, predict, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetError, DatasetWarning
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.grafting.metadata import about_from_text
from featurebank.runs.run import RunRecord
from featurebank.statistics import proportion_interval

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "logistic"}])[0]


@pytest.fixture(scope="module")
def exported(run: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, tmp_path_factory.mktemp("model") / "model.keras", proof=False)


@pytest.fixture(scope="module")
def model(exported: Path) -> LoadedModel:
    return load_model(exported)


def test_it_agrees_with_the_run_and_with_the_predictions(model: LoadedModel, run: RunRecord, shown: Path) -> None:
    found = evaluate(model, str(shown), split="val", batch_size=5)
    assert found.images == 16
    assert found.accuracy == pytest.approx(run.metrics["val"]["accuracy"])
    assert found.loss == pytest.approx(run.metrics["val"]["loss"], abs=1e-4)
    assert found.accuracy_interval == proportion_interval(found.accuracy, 16)
    told = predict(model, shown / "val")
    pairs = Counter((Path(one.file).parent.name, str(one.label)) for one in told)
    names = [one.name for one in found.classes]
    assert names == ["ant", "bee", "cow"]
    expected = [[pairs[row, column] for column in names] for row in names]
    np.testing.assert_array_equal(found.confusion, expected)
    for place, one in enumerate(found.classes):
        assert one.images == sum(expected[place])
        assert one.recall == pytest.approx(expected[place][place] / one.images)
        named = sum(row[place] for row in expected)
        assert one.precision == (pytest.approx(expected[place][place] / named) if named else None)
    wrong = found.mistaken()
    assert sum(count for *_, count in wrong) == 16 - np.trace(found.confusion)
    assert [count for *_, count in wrong] == sorted((count for *_, count in wrong), reverse=True)
    assert found.to_dict()["confusion"] == expected


def test_images_that_the_model_has_seen_are_told_from_others(
    exported: Path, model: LoadedModel, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    photos = tmp_path / "photos"
    shutil.copytree(shown, photos)
    for file in (photos / "val" / "bee").iterdir():  # seven images that differ in a byte, which no decoder reads
        file.write_bytes(file.read_bytes() + b"\0")
    warning = "24 of 40 images were used to train the model and 9 to choose it, so the accuracy of"
    with pytest.warns(DatasetWarning, match=f"^{warning} .* is too good; on 7 unseen images it is"):
        found = evaluate(model, load_dataset(str(photos)))
    assert found.images == 40
    assert found.seen is not None
    parts = [found.seen.training, found.seen.validation, found.seen.unseen]
    assert sum(one.images * (one.accuracy or 0) for one in parts) == pytest.approx(40 * found.accuracy)
    seen = evaluate(model, str(photos), split="val").seen
    assert seen is not None
    assert (seen.training.images, seen.validation.images, seen.unseen) == (0, 9, found.seen.unseen)
    assert f"; 24 seen in training, 9 seen in validation, accuracy {seen.unseen.accuracy:.4f}" in repr(found)
    assert found.to_dict()["seen"]["unseen"]["accuracy"] == found.seen.unseen.accuracy
    assert found.certainty is not None
    assert found.certainty.images == 7, "doubts are measured on unseen images alone"
    out, errors = run_command(("evaluate", exported, photos), monkeypatch, capsys)
    assert " ".join(errors.split()).startswith(f"warning: {warning}")
    table = [line.split() for line in out.splitlines()[4:7]]
    assert [line[:-2] for line in table] == [["in", "training", "24"], ["in", "validation", "9"], ["never", "7"]]
    assert "sets of classes and answers, on the 7 unseen images:" in out


def test_a_model_without_digests_says_nothing_about_them(model: LoadedModel, shown: Path) -> None:
    older = LoadedModel(model.outputs, replace(model.about, seen=None))
    found = evaluate(older, str(shown))
    assert found.seen is None
    assert found.to_dict()["seen"] is None
    text = json.loads(model.about.to_text())
    del text["seen"]
    assert about_from_text(json.dumps({**text, "version": 3}), shown).seen is None, "a file of the last version"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format(name: str, model: LoadedModel, run: RunRecord, shown: Path, tmp_path: Path) -> None:
    file = export(run, tmp_path / f"model{FORMATS[name].suffix}", proof=False)
    found, expected = (evaluate(one, str(shown), split="train") for one in (file, model))
    np.testing.assert_array_equal(found.confusion, expected.confusion)
    assert found.seen is not None
    assert (found.seen.is_exact, found.seen.training.images) == (True, 24)
    assert found.loss == pytest.approx(expected.loss, abs=1e-5)


def test_bad_images_and_classes_of_others(model: LoadedModel, shown: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(shown / "val", photos)
    shutil.rmtree(photos / "cow")
    (photos / "ant" / "bad.png").write_bytes(b"")
    with pytest.warns(
        DatasetWarning, match=r"^15 of 15 images were used to choose .* may be too good; evaluate unseen"
    ):
        found = evaluate(model, str(photos))
    assert found.skipped == (("ant/bad.png", "empty file"),)
    assert (found.images, found.classes[2].images, found.classes[2].recall) == (15, 0, None)
    with pytest.raises(ConfigError, match="unknown split 'vla': did you mean 'val'"):
        evaluate(model, str(photos), split="vla")
    (photos / "bee").rename(photos / "wasp")
    with pytest.raises(
        DatasetError, match=r"unknown class 'wasp': known: ant, bee, cow; '.*' must have only classes of"
    ):
        evaluate(model, str(photos))
