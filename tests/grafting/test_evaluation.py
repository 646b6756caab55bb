"""What a file is worth on labelled images is what its predictions are."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from featurebank import evaluate, export, load_dataset, load_model, predict, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetError
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.runs.run import RunRecord
from featurebank.statistics import proportion_interval

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "logistic"}])[0]


@pytest.fixture(scope="module")
def model(run: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(export(run, tmp_path_factory.mktemp("model") / "model.keras", proof=False))


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


def test_all_splits_are_the_default(model: LoadedModel, shown: Path) -> None:
    assert evaluate(model, load_dataset(str(shown))).images == 40


@pytest.mark.parametrize("name", FORMATS)
def test_every_format(name: str, model: LoadedModel, run: RunRecord, shown: Path, tmp_path: Path) -> None:
    file = export(run, tmp_path / f"model{FORMATS[name].suffix}", proof=False)
    found, expected = evaluate(file, str(shown)), evaluate(model, str(shown))
    np.testing.assert_array_equal(found.confusion, expected.confusion)
    assert found.loss == pytest.approx(expected.loss, abs=1e-5)


def test_bad_images_and_classes_of_others(model: LoadedModel, shown: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(shown / "val", photos)
    shutil.rmtree(photos / "cow")
    (photos / "ant" / "bad.png").write_bytes(b"")
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
