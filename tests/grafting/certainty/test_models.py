"""Models of every kind give the features that they compare with those of their training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_torch import TinyMaps, tiny_torch

from featurebank import export, extract, finetune, load_dataset, load_model, predict, train_heads
from featurebank.bank import Bank
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.grafting.metadata import about_from_text, read_member
from featurebank.runs.run import RunRecord
from featurebank.system.progress import Reporter
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy


class Lines(Reporter):
    """Collects warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str, kind: Any = None) -> None:
        self.lines.append(line)


def known_distances(model: LoadedModel, files: list[Path]) -> np.ndarray:
    """The places of images among the validation images, by what the model itself says of them."""
    return np.array([one.likeness for one in predict(model, files)], np.float64)


def check(model: LoadedModel, shown: Path) -> None:
    """Validation images have, by a file's own features, the ranks that calibration gave them."""
    files = sorted((shown / "val").glob("*/*"))
    shares = np.sort(known_distances(model, files))
    ranks = np.arange(len(files)) / (len(files) + 1)
    assert np.abs(shares - ranks).max() < 0.13, "each image is about as far as calibration measured it to be"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".keras", {"with_resize": True}),
        pytest.param(".keras", {}, marks=[pytest.mark.slow]),
        pytest.param(".onnx", {"with_resize": True}, marks=[pytest.mark.slow]),
        pytest.param(".tflite", {}, marks=[pytest.mark.slow]),
    ],
)
def test_a_tail_compares_its_input_averaged_over_places(
    suffix: str, options: dict[str, Any], tail_run: RunRecord, shown: Path, tmp_path: Path
) -> None:
    model = load_model(export(tail_run, tmp_path / f"model{suffix}", proof=False, **options))
    assert model.about.certainty is not None
    assert model.about.certainty.likeness is not None
    assert model.about.certainty.likeness.width == 2
    check(model, shown)


@pytest.fixture(scope="module")
def tail_run(place: Path, shown: Path) -> RunRecord:
    bank = extract(load_dataset(str(shown)), "tiny:network", ["cut"], cache=place / "cut")
    return train_heads(bank, [{"kind": "tail", "cut": "cut", "epochs": 1}])[0]


@pytest.fixture(scope="module")
def finetuned(bank: Bank) -> RunRecord:
    run = train_heads(bank, [{"kind": "softmax", "epochs": 3}])[0]
    return finetune(run, unfreeze="last", epochs=1)


@pytest.mark.parametrize("name", ["keras", pytest.param("openvino", marks=[pytest.mark.slow])])
def test_a_fine_tune_compares_the_input_of_its_last_layer(
    name: str, finetuned: RunRecord, shown: Path, tmp_path: Path
) -> None:
    model = load_model(export(finetuned, tmp_path / f"model{FORMATS[name].suffix}"))
    certainty = model.about.certainty
    assert certainty is not None
    assert certainty.likeness is not None
    assert certainty.images == 16
    assert "to decide when its training stops" in certainty.basis
    saved = about_from_text(str(read_member(finetuned.saved_path)), finetuned.saved_path)
    for seen in (model.about.seen, saved.seen):
        assert seen is not None
        assert (seen.training.images, seen.validation.images) == (24, 16)
    check(model, shown)


def test_a_fine_tune_whose_images_have_gone_is_exported_with_a_warning(
    finetuned: RunRecord, shown: Path, tmp_path: Path
) -> None:
    hidden = shown.rename(tmp_path / "hidden")
    try:
        reporter = Lines()
        path = export(finetuned, tmp_path / "model.keras", reporter=reporter)
    finally:
        hidden.rename(shown)
    assert [line for line in reporter.lines if "so the model cannot say when it is not sure" in line]
    assert load_model(path).about.certainty is None


@pytest.mark.networks
@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".fbmodel"])
def test_a_network_of_another_library(suffix: str, place: Path, shown: Path, tmp_path: Path) -> None:
    backbone = tiny_torch(TinyMaps)
    bank = extract(load_dataset(str(shown)), backbone, ["map"], cache=place / "foreign_maps")
    (run,) = train_heads(bank, [{"kind": "conv", "epochs": 1}], taps=["map"])
    check(load_model(export(run, tmp_path / f"model{suffix}", backbone=backbone, proof=False)), shown)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter:UserWarning")
@pytest.mark.parametrize(
    "name", ["tflite", *(pytest.param(name, marks=[pytest.mark.slow]) for name in ("onnx", "openvino"))]
)
def test_other_programs_find_the_probabilities_first(name: str, finetuned: RunRecord, tmp_path: Path) -> None:
    path = export(finetuned, tmp_path / f"model{FORMATS[name].suffix}")
    image = np.random.default_rng(0).uniform(0, 255, (1, 14, 14, 3)).astype(np.float32)
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [one.name for one in session.get_outputs()] == ["probabilities", "embedding"]
        first = session.run(None, {"image": image})[0]
    elif name == "openvino":
        import openvino

        first = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]
    else:
        interpreter = import_tensorflow().lite.Interpreter(str(path))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        first = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(first, load_model(path).predict(image), atol=1e-5)
