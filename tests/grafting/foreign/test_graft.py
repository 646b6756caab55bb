"""Grafts of networks that are not of Keras: one graph in a file, proved on images, and read without PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_torch import TinyMaps, TinyTokens, tiny_torch

from featurebank import export, extract, graft, load_dataset, load_model, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS as MAKERS
from featurebank.backbone.resize import central
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.runs.run import RunRecord
from tests.conftest import ROOT

pytestmark = [pytest.mark.networks, pytest.mark.heavy]

HEADS = (
    {"kind": "softmax", "epochs": 5, "tap": "pooled"},
    {"kind": "softmax", "epochs": 5, "tap": "tokens"},
    {"kind": "softmax", "epochs": 5, "tap": "pooled+cls"},
    {"kind": "conv", "epochs": 1, "tap": "map"},
    {"kind": "knn", "tap": "pooled"},
)
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "joined": ".fbmodel"}

PREDICT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "timm", "transformers"}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np, featurebank as fb
model = fb.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2])))
print(model.about.backbone["preprocessing"], model.about.resize)
"""


@pytest.fixture(scope="module")
def transformer() -> Backbone:
    backbone = tiny_torch(TinyTokens)
    backbone.resize_rule = central("stretch", 32, "bilinear")  # as networks of other libraries have their own
    return backbone


@pytest.fixture(scope="module")
def foreign_bank(place: Path, shown: Path, transformer: Backbone) -> Bank:
    return extract(load_dataset(str(shown)), transformer, ["pooled", "tokens", "map", "cls"], cache=place / "foreign")


@pytest.fixture(scope="module")
def runs(foreign_bank: Bank) -> dict[str, RunRecord]:
    records = train_heads(foreign_bank, HEADS)
    return {f"{one.spec.kind} {one.tap}": one for one in records}


@pytest.mark.parametrize(
    ("run", "name"),
    [
        *(("softmax pooled", name) for name in SUFFIXES),
        ("softmax tokens", "onnx"),
        ("softmax pooled+cls", "onnx"),
        ("softmax pooled+cls", "openvino"),
        ("conv map", "openvino"),
        ("knn pooled", "joined"),
    ],
)
def test_a_file_says_what_the_head_says(
    run: str, name: str, runs: dict[str, RunRecord], foreign_bank: Bank, transformer: Backbone, tmp_path: Path
) -> None:
    path = export(runs[run], tmp_path / f"model{SUFFIXES[name]}", backbone=transformer)
    assert sorted(tmp_path.iterdir()) == sorted(FORMATS[name].files(path)), "nothing else is left"
    model = load_model(path)
    about = model.about
    assert (about.classes, about.format, about.tap) == (("ant", "bee", "cow"), name, runs[run].tap)
    assert (about.backbone["preprocessing"], about.resize) == (transformer.spec.preprocessing, transformer.resize_rule)
    assert about.proof is not None
    assert about.proof.images == 16
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    joined = graft(foreign_bank, runs[run], backbone=transformer)
    assert isinstance(joined, JoinedModel)
    assert np.abs(model.predict(images, batch_size=2) - joined.predict(images)).max() < 1e-4


def test_predictions_need_no_pytorch(runs: dict[str, RunRecord], transformer: Backbone, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    for suffix in (".fbmodel", ".xml"):
        path = export(runs["softmax pooled"], tmp_path / f"model{suffix}", backbone=transformer)
        words = (sys.executable, "-c", PREDICT, path, tmp_path / "images.npy", tmp_path / "found.npy")
        done = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [transformer.spec.preprocessing, transformer.resize_rule]
        assert np.abs(np.load(tmp_path / "found.npy") - load_model(path).predict(images)).max() < 1e-6


def test_a_convolutional_network(place: Path, shown: Path, tmp_path: Path) -> None:
    backbone = tiny_torch(TinyMaps)
    bank = extract(load_dataset(str(shown)), backbone, ["pooled"], cache=place / "foreign")
    (run,) = train_heads(bank, [{"kind": "logistic"}])
    for suffix in SUFFIXES.values():
        model = load_model(export(run, tmp_path / f"model{suffix}", backbone=backbone))
        assert model.about.proof is not None
        assert model.about.proof.difference < 1e-4


@pytest.mark.parametrize("suffix", [".keras", ".tflite"])
def test_other_formats_are_refused_before_anything_is_computed(
    suffix: str, runs: dict[str, RunRecord], transformer: Backbone, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"tinytokens is a network of PyTorch, which cannot become a \{suffix} file: write \.onnx, \.xml",
    ):
        export(runs["softmax pooled"], tmp_path / "new" / f"model{suffix}", backbone=transformer)
    assert not list(tmp_path.iterdir())


def test_a_model_that_resizes_is_refused(runs: dict[str, RunRecord], transformer: Backbone, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only models of Keras's networks can resize: omit --with-resize"):
        export(runs["softmax pooled"], tmp_path / "model.onnx", backbone=transformer, with_resize=True)


def test_a_head_without_layers_becomes_fbmodel(
    runs: dict[str, RunRecord], transformer: Backbone, tmp_path: Path
) -> None:
    with pytest.raises(HeadError, match=r"cannot become Keras layers .* or export it as a \.fbmodel file"):
        export(runs["knn pooled"], tmp_path / "model.xml", backbone=transformer)


def test_files_that_hold_a_damaged_trunk(runs: dict[str, RunRecord], transformer: Backbone, tmp_path: Path) -> None:
    import zipfile

    path = export(runs["knn pooled"], tmp_path / "model.fbmodel", backbone=transformer)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, content in (
        ("trunk.xml", members["trunk.xml"][: len(members["trunk.xml"]) // 2]),
        ("trunk.xml", b"no network"),
        ("trunk.bin", members["trunk.bin"][:-100]),
        ("../trunk.xml", members["trunk.xml"]),
    ):
        with zipfile.ZipFile(tmp_path / "damaged.fbmodel", "w") as archive:
            for other, value in {**members, name: content}.items():
                archive.writestr(other, value)
        with pytest.raises(ConfigError, match="is not a complete model of featurebank"):
            load_model(tmp_path / "damaged.fbmodel")


def test_every_form_has_a_format() -> None:
    assert all(any(form in kind.forms for kind in FORMATS.values()) for form in MAKERS)
