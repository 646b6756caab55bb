"""Model files: whole or not there, run before they get their names, and readable without featurebank."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import export, graft, load_model, make_head, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import ConfigError, FormatVersionError, HeadError, MissingDependencyError
from featurebank.grafting.certainty.embedding import ModelOutputs
from featurebank.grafting.formats import FORMATS, KerasFormat
from featurebank.grafting.metadata import MEMBER
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy

RunOf = Callable[..., RunRecord]
Images = Callable[[Backbone], np.ndarray]

WITHOUT_FEATUREBANK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "featurebank":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np, keras
model = keras.models.load_model(sys.argv[1])
print(model.count_params(), model.input.shape)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


@pytest.fixture(scope="module")
def lite_run(lite_bank: Bank) -> RunRecord:
    return train_heads(lite_bank, [{"kind": "softmax", "epochs": 5}])[0]


@pytest.fixture(scope="module")
def tiny_run(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "softmax", "epochs": 5}])[0]


def refuse_a_difference(
    name: str, run: RunRecord, bank: Bank, backbone: Backbone, images_for: Images, tmp_path: Path
) -> None:
    path = export(run, tmp_path / f"model{FORMATS[name].suffix}", format=name)
    assert sorted(tmp_path.iterdir()) == sorted(FORMATS[name].files(path)), "nothing else is left"
    model = load_model(path)
    assert model.classes == ("ant", "bee", "cow")
    about = model.about
    assert (about.format, about.run, about.tap, about.bank) == (name, run.run, "pooled", bank.digest)
    assert about.metrics["val"]["accuracy"] == run.metrics["val"]["accuracy"]
    assert about.proof is not None
    assert about.proof.difference <= 1e-4
    images = images_for(backbone)
    expected = np.asarray(graft(bank, run)(images.astype(np.float32), training=False))
    assert np.abs(model.predict(images, batch_size=4) - expected).max() < 1e-4


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_says_the_same(
    name: str, bank: Bank, tiny_run: RunRecord, tiny: Backbone, images_for: Images, tmp_path: Path
) -> None:
    refuse_a_difference(name, tiny_run, bank, tiny, images_for, tmp_path)


REPEATED = {"onnx", "tflite", "joined", "keras"}
"""What the converters do to layers is in test_converters.py; a Keras file holds the layers themselves."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in REPEATED else []) for name in FORMATS]
)
def test_every_format_of_a_real_network_says_the_same(
    name: str, lite_bank: Bank, lite_run: RunRecord, lite: Backbone, images_for: Images, tmp_path: Path
) -> None:
    refuse_a_difference(name, lite_run, lite_bank, lite, images_for, tmp_path)


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.needs_layers])
def test_the_votes_of_a_linear_svm_are_in_every_format(name: str, tmp_path: Path) -> None:
    import_tensorflow()
    import keras

    rows = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    head = make_head("svm", {"kernel": "linear"}).fit(rows, np.abs(rows[:, :4]).argmax(axis=1))
    tensor = keras.Input(rows.shape[1:], name="image")
    model = keras.Model(tensor, keras.layers.Activation("softmax")(head.keras_layers_(tensor)))
    path = tmp_path / f"model{FORMATS[name].suffix}"
    FORMATS[name].write(model, path, "about")
    run, text = FORMATS[name].read(path)
    assert text == "about"
    np.testing.assert_allclose(run(rows).probabilities, head.predict_proba(rows), atol=1e-4)


def test_keras_alone_reads_it(run_of: RunOf, tiny: Backbone, images_for: Images, tmp_path: Path) -> None:
    path, images = export(run_of("logistic", calibrate="temperature"), tmp_path / "model.keras"), images_for(tiny)
    np.save(tmp_path / "images.npy", images)
    words = [sys.executable, "-c", WITHOUT_FEATUREBANK, path, tmp_path / "images.npy", tmp_path / "found.npy"]
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "(None, 14, 14, 3)" in result.stdout
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), load_model(path).predict(images), atol=1e-6)


def test_what_cannot_become_layers_says_why_and_what_can(run_of: RunOf, tmp_path: Path) -> None:
    run = run_of("knn", n_neighbors=3)
    with pytest.raises(HeadError, match=r"^knn\(n_neighbors=3\) cannot become .*KNeighbors.*softmax, mlp.*\.fbmodel"):
        export(run, tmp_path / "model.keras")
    assert load_model(export(run, tmp_path / "model.fbmodel")).about.head == "knn(n_neighbors=3)"


def test_a_run_that_failed(run_of: RunOf, bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="the only run failed"):
        run_of("knn", n_neighbors=1000)
    run = next(run for run in load_runs(bank) if run.failure)
    with pytest.raises(HeadError, match=f"run {run.run} failed"):
        export(run, tmp_path / "model.fbmodel")


def test_weights_that_were_not_kept_are_trained_again(run_of: RunOf, tmp_path: Path) -> None:
    run = run_of("lda")
    run.saved_path.unlink(missing_ok=True)
    assert export(run, tmp_path / "model.keras").is_file()


def test_a_file_that_says_something_else_never_gets_its_name(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.keras"
    path.write_text("old")
    read = KerasFormat.read

    def wrong(self: KerasFormat, path: Path) -> Any:
        run, text = read(self, path)
        return lambda images: ModelOutputs(run(images).probabilities + 0.01), text

    monkeypatch.setattr(KerasFormat, "read", wrong)
    with pytest.raises(HeadError, match=r"the keras file returns other probabilities.*differ by 0.01"):
        export(run_of("ridge"), path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.keras", "old")]


def test_a_crash_between_two_files_leaves_no_mixture(
    run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(run_of("ridge"), tmp_path / "model.xml")
    replace_file, done = Path.replace, []

    def crash(self: Path, target: Path) -> Path:
        if self.parent.parent == tmp_path and done:
            raise KeyboardInterrupt
        done.append(self.name)
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        export(run_of("ridge"), path, proof=False)
    with pytest.raises(ConfigError, match="there is no model file"):
        load_model(path)


def test_a_converter_that_fails_is_one_line(run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        message = "no such\noperation"
        raise RuntimeError(message)

    monkeypatch.setattr(FORMATS["tflite"], "write", fail)
    with pytest.raises(HeadError, match=r"cannot be written as tflite \(no such operation\)"):
        export(run_of("ridge"), tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("swallowed", [True, False])
def test_an_interruption_ends_it_whatever_a_library_makes_of_it(
    swallowed: bool, run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: KerasFormat, *_: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            if not swallowed:
                message = "an error of C++"
                raise RuntimeError(message) from None

    monkeypatch.setattr(KerasFormat, "write", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        export(run_of("ridge"), tmp_path / "model.keras", proof=False)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_a_missing_package_is_named(run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[onnx\]'"):
        export(run_of("ridge"), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("model.h5", None, "has no suffix of a model format: expected one of .keras"),
        ("model", "onnx", "write it as 'model.onnx'"),
        ("model.keras", "tflite", "ends with .tflite, got"),
        ("model.KERAS", None, "ends with .keras, got '.*': write it as 'model.keras'"),
    ],
)
def test_the_suffix_tells_the_format(
    name: str, format: str | None, message: str, run_of: RunOf, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(run_of("ridge"), tmp_path / name, format=format)


def test_files_of_others_are_refused(run_of: RunOf, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no model file"):
        load_model(tmp_path / "model.keras")
    (tmp_path / "damaged.keras").write_bytes(b"PK nothing")
    with pytest.raises(ConfigError, match="cannot be read as a keras model"):
        load_model(tmp_path / "damaged.keras")
    (tmp_path / "damaged.fbmodel").write_bytes(b"PK nothing")
    with pytest.raises(ConfigError, match="is not a complete model"):
        load_model(tmp_path / "damaged.fbmodel")
    path = export(run_of("ridge"), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for changed, text, error, message in (
        ("plain", None, ConfigError, "has no class names"),
        ("newer", parts[MEMBER].replace(b'"version": 4', b'"version": 5'), FormatVersionError, "a newer one"),
        ("torn", parts[MEMBER][:50], ConfigError, "damaged"),
        (
            "resize",
            parts[MEMBER].replace(b"crop:0.875", b"stretch"),
            ConfigError,
            "has the resize rule 'stretch",
        ),
    ):
        file = tmp_path / f"{changed}.keras"
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in {**parts, MEMBER: text}.items():
                if data is not None:
                    archive.writestr(name, data)
        with pytest.raises(error, match=message):
            load_model(file)


def test_a_run_is_exported_after_its_bank_has_moved(run_of: RunOf, bank: Bank, tmp_path: Path) -> None:
    run = run_of("ridge")
    moved = bank.path.rename(tmp_path / "moved")
    try:
        path = export(replace(run, directory=moved), tmp_path / "model.keras")
        assert load_model(path).about.run == run.run
    finally:
        moved.rename(bank.path)
