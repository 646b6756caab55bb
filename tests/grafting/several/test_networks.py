"""A head on taps of several networks becomes one .fbmodel file, which resizes images for each network itself."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurebank import evaluate, export, extract, graft, load_backbone, load_dataset, load_model, predict, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.resize import PAD, STRETCH
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetError, HeadError
from featurebank.grafting import JoinedModel
from featurebank.grafting.metadata import MEMBER
from featurebank.grafting.several.networks import several_networks
from featurebank.grafting.several.squares import Square, inputs_of, squares_of
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

TAP = "pooled+tiny:transformer:cls+tiny:transformer:pooled"


@pytest.fixture(scope="module")
def bank(place: Path, shown: Path, tiny: Backbone) -> Bank:
    cache = place / "several"
    extract(load_dataset(str(shown)), load_backbone("tiny:transformer"), ["cls", "pooled"], cache=cache)
    return extract(load_dataset(str(shown)), tiny, ["pooled"], cache=cache)


@pytest.fixture(scope="module")
def run(bank: Bank) -> RunRecord:
    return train_heads(bank, "logistic", taps=[TAP])[0]


@pytest.fixture(scope="module")
def file(run: RunRecord, place: Path) -> Path:
    return export(run, place / "several.fbmodel")


def test_squares_lie_in_one_row() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    squares = [Square(4, STRETCH), Square(6, PAD)]
    first, second = inputs_of(squares_of(image, squares)[None], squares)
    assert np.array_equal(first[0], squares_of(image, squares[:1]))
    assert np.array_equal(second[0], squares_of(image, squares[1:]))
    assert [part.shape for part in inputs_of(np.stack([image, image]), squares)] == [(2, 4, 4, 3), (2, 6, 6, 3)]


def test_one_file_of_two_networks(file: Path, run: RunRecord, shown: Path, bank: Bank) -> None:
    model = load_model(file)
    assert model.about.proof is not None
    assert (model.about.proof.images, model.about.proof.tolerance) == (16, 1e-4)
    assert [square.size for square in model.about.squares] == [14, 16]
    paths = sorted(shown.glob("*/*/*"))[:5]
    answers = predict(model, paths)
    expected = run.predict_proba(paths)  # type: ignore[attr-defined]
    assert [one.probability for one in answers] == pytest.approx(expected.max(axis=1).tolist(), abs=1e-5)
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    assert np.allclose(model.predict(np.stack(pixels[:2])), expected[:2], atol=1e-5), "images of any size"
    assert evaluate(model, str(shown), split="val").accuracy == pytest.approx(run.metrics["val"]["accuracy"])
    joined = graft(bank, run, proof=False)
    assert isinstance(joined, JoinedModel)
    with pytest.raises(DatasetError, match=r"expected \(n, height, width, 3\)"):
        model.predict(np.zeros((2, 14, 14)))


def test_a_file_that_lacks_a_network_is_refused(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.fbmodel"
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(broken, "w") as part:
        for name in whole.namelist():
            about = whole.read(name)
            if name == MEMBER:
                about = json.dumps({**json.loads(about), "further": [{"image_size": -1, "resize": "crop"}]}).encode()
            part.writestr(name, about)
    with pytest.raises(ConfigError, match="damaged"):
        load_model(broken)


@pytest.mark.parametrize("suffix", [".keras", ".fbmodel"])
def test_columns_are_in_no_model_file(joined_banks: Callable[..., Bank], suffix: str, tmp_path: Path) -> None:
    made = joined_banks()
    with_columns = train_heads(made, "ridge", taps=["pooled+columns:age,site"])[0]
    with pytest.raises(HeadError, match=r"has columns of metadata \(age, site\), which no image has"):
        export(with_columns, tmp_path / f"model{suffix}")


def test_what_no_model_file_holds(bank: Bank, run: RunRecord, tmp_path: Path) -> None:
    assert several_networks(bank, "pooled") is None
    with pytest.raises(HeadError, match=r"needs tiny.network and tiny.transformer.*or export this run as a .fbmodel"):
        export(run, tmp_path / "model.keras")
