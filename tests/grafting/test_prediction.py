"""Predictions from files: decoded as in extraction; one bad image stops nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurebank import export, extract, graft, load_backbone, load_dataset, load_model, predict, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.resize import RULES
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetError
from featurebank.extraction.recompute import check_recomputed_rows
from featurebank.extraction.source_images import SourceImages
from featurebank.grafting import Prediction
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "logistic"}])[0]


@pytest.fixture(scope="module")
def model(run: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(export(run, tmp_path_factory.mktemp("model") / "model.keras"))


def test_it_is_as_right_as_the_run_says(model: LoadedModel, run: RunRecord, shown: Path) -> None:
    found = predict(model, shown / "val", batch_size=7)
    assert len(found) == 16
    right = [prediction.label == Path(prediction.file).parent.name for prediction in found]
    assert abs(np.mean(right) - run.metrics["val"]["accuracy"]) < 1e-6


def test_files_directories_and_what_is_wrong_with_them(model: LoadedModel, shown: Path, tmp_path: Path) -> None:
    (tmp_path / "more" / "deep").mkdir(parents=True)
    photo = (shown / "train" / "ant" / "2.png").read_bytes()
    for name in ("more/b.png", "more/deep/a.PNG", "more/.hidden.png", "more/notes.txt"):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "more" / "broken.jpg").write_bytes(b"no image")
    found = predict(model, [tmp_path / "more", tmp_path / "missing.png", shown / "train" / "ant" / "2.png"], top=2)
    names = [Path(prediction.file).name for prediction in found]
    assert names == ["b.png", "broken.jpg", "a.PNG", "missing.png", "2.png"]
    assert [prediction.error is None for prediction in found] == [True, False, True, False, True]
    assert found[0].top == found[2].top == found[4].top
    first = found[0].to_dict()
    assert list(first) == ["file", "label", "probability", "top", "unlike", "likeness"]
    assert first["top"][0] == [first["label"], first["probability"]]
    assert len(first["top"]) == 2
    assert found[1].to_dict() == {"file": str(tmp_path / "more" / "broken.jpg"), "error": found[1].error}
    assert "\n" not in str(found[3].error)


def test_orientation_and_colour_are_those_of_extraction(
    model: LoadedModel, bank: Bank, run: RunRecord, tiny: Backbone, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).convert("L").save(tmp_path / "grey.png")
    grey = np.repeat(np.asarray(Image.open(tmp_path / "grey.png"))[..., None], 3, axis=2)
    expected = graft(bank, run).predict(
        np.stack([tiny.resize(grey), tiny.resize(np.rot90(pixels, -1).copy())]), verbose=0
    )
    found = predict(model, tmp_path, top=3)
    for prediction, probabilities in zip(found, expected, strict=True):
        told = dict(prediction.top)
        np.testing.assert_allclose([told[name] for name in model.classes], probabilities, atol=1e-5)


@pytest.mark.parametrize("rule", ["crop", "pad"])
def test_the_rule_of_the_bank_is_that_of_the_model_file(rule: str, shown: Path, tmp_path: Path) -> None:
    backbone = load_backbone("tiny:network", resize=rule)
    bank = extract(load_dataset(str(shown)), backbone, ["pooled"], cache=tmp_path / "cache")
    file = export(train_heads(bank, [{"kind": "logistic"}])[0], tmp_path / "model.keras")  # proves it on read images
    loaded = load_model(file)
    assert loaded.about.resize == bank.recipe["resize"] == RULES[rule]
    squares = np.stack([backbone.resize(np.asarray(Image.open(path))) for path in sorted(shown.glob("val/*/*.png"))])
    found = [dict(prediction.top) for prediction in predict(loaded, sorted(map(str, shown.glob("val/*/*.png"))))]
    told = [[top[name] for name in loaded.classes] for top in found]
    np.testing.assert_allclose(told, loaded.predict(squares), atol=1e-5)
    again = SourceImages(bank, ["val"]).read(np.arange(16))
    assert {image.tobytes() for image in squares} <= {image.tobytes() for image in again}
    assert check_recomputed_rows(bank, rows=4, backbone=backbone).wrong == ()


def test_arrays(model: LoadedModel) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    assert [prediction.file for prediction in predict(model, pixels)] == ["0", "1", "2"]
    assert predict(model, list(pixels)) == predict(model, pixels)
    assert isinstance(predict(model, pixels)[0], Prediction)
    with pytest.raises(DatasetError, match=r"expected \(n, 14, 14, 3\)"):
        model.predict(pixels)


def test_nothing_to_see(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images"):
        predict(model, tmp_path)
    with pytest.raises(DatasetError, match="no images"):
        predict(model, [])
    with pytest.raises(ConfigError, match="top is 0"):
        predict(model, tmp_path, top=0)
