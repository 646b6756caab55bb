"""A head on several taps of one network becomes one model; parts of several networks are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import export, extract, finetune, graft, load_backbone, load_dataset, load_model, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.dataset.unlabelled import unlabelled_images
from featurebank.errors import HeadError
from featurebank.explanation.heat_maps import heat_maps
from featurebank.explanation.stage import ExplainOptions, run_explain
from featurebank.grafting.trunk import taps_of
from featurebank.runs.probabilities import positions_of, predictor
from featurebank.runs.refitting import trained_head
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

TAP = "pooled+cut:max"


@pytest.fixture(scope="module")
def bank(place: Path, shown: Path, tiny: Backbone) -> Bank:
    cache = place / "joined"
    extract(load_dataset(str(shown)), load_backbone("tiny:colours"), ["pooled"], cache=cache)
    return extract(load_dataset(str(shown)), tiny, ["cut:max", "pooled"], cache=cache)


@pytest.fixture(scope="module")
def runs(bank: Bank) -> dict[str, RunRecord]:
    grid: list[Any] = ["logistic", {"kind": "mlp", "epochs": 3, "hidden_units": 4}, {"kind": "knn", "n_neighbors": 3}]
    return {run.head: run for run in train_heads(bank, grid, taps=[TAP])}


def of_images(model: Any, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(images.astype(np.float32), 4))


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("logistic", ".keras"),
        pytest.param("mlp", ".keras", marks=pytest.mark.slow),
        ("knn", ".fbmodel"),
        *(
            pytest.param("mlp", suffix, marks=pytest.mark.slow, id=f"mlp{suffix}")
            for suffix in (".onnx", ".xml", ".tflite", ".fbmodel")
        ),
    ],
)
def test_one_model_of_several_taps(
    bank: Bank, runs: dict[str, RunRecord], tiny: Backbone, images_for: Any, kind: str, suffix: str, tmp_path: Path
) -> None:
    run = runs[kind]
    model = load_model(export(run, tmp_path / f"model{suffix}"))
    assert model.about.tap == TAP
    assert model.about.proof is not None
    assert model.about.proof.images == 16
    assert model.about.proof.difference < 1e-4
    images = images_for(tiny)
    joined = graft(bank, run, proof=False)
    assert np.abs(of_images(model, images) - of_images(joined, images)).max() < 1e-5


def test_the_scale_of_a_linear_head_is_in_its_layer(bank: Bank, runs: dict[str, RunRecord]) -> None:
    names = [layer.name for layer in graft(bank, runs["logistic"], proof=False).layers]
    assert names[-4:] == ["joined_taps", "head_logits", "probabilities", "all_classes"]


@pytest.mark.slow
def test_a_fine_tune_begins_with_the_head(bank: Bank, runs: dict[str, RunRecord]) -> None:
    tuned = finetune(runs["logistic"], unfreeze="last", epochs=1)
    assert tuned.finetune is not None
    assert tuned.finetune["epoch_0"]["accuracy"] == pytest.approx(runs["logistic"].metrics["val"]["accuracy"])
    assert tuned.tap == TAP


@pytest.mark.parametrize("method", ["auto", "occlusion"])
def test_explanations_see_all_taps(bank: Bank, runs: dict[str, RunRecord], shown: Path, method: Any) -> None:
    run, path = runs["logistic"], sorted(shown.glob("val/*/*"))[0]
    (one,) = run_explain(bank, run, unlabelled_images([path]), ExplainOptions(method=method))
    assert one.method == ("gradcam" if method == "auto" else "occlusion")
    place = [bank.ids()[position] for position in positions_of(bank, run, "val")].index(str(path.relative_to(shown)))
    found = predictor(bank, run, "val", trained_head(bank, run))()[place]
    assert one.probability == pytest.approx(found.max(), abs=1e-5)
    (line,) = heat_maps(bank, run, [0])
    assert "sees several parts side by side" in str(line)


def test_parts_of_several_networks_are_no_one_model(bank: Bank, tmp_path: Path) -> None:
    run = train_heads(bank, "ridge", taps=["pooled+tiny:colours:pooled"])[0]
    expected = r"tap 'pooled\+tiny:colours:pooled' needs tiny.network and tiny.colours"
    refused: list[Callable[[], Any]] = [
        lambda: export(run, tmp_path / "model.keras"),
        lambda: finetune(run, unfreeze="last", epochs=1),
        lambda: taps_of(bank, run.tap),
    ]
    for call in refused:
        with pytest.raises(HeadError, match=expected):
            call()
    assert run.predict([np.zeros((14, 14, 3), np.uint8)]).shape == (1,)
