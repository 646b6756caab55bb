"""What a worker says about its networks and images, called in this process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.cluster import worker as module
from featurebank.cluster.admission import relative_difference
from featurebank.cluster.checks import probe_file
from featurebank.cluster.worker import PieceOrder, network_record, prepare
from featurebank.dataset import Dataset
from featurebank.dataset.cutting import DatasetCutter
from featurebank.extraction import ExtractOptions
from featurebank.extraction.pieces.plan import PieceBank


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_bench", module._Bench())
    monkeypatch.setattr(module, "limit_to_worker", lambda: None)


@pytest.fixture
def sample(photos: Path) -> Dataset:
    dataset = fb.load_dataset(str(photos))
    return DatasetCutter(dataset).cut(dataset.distinct()[:3])


def order_for(record: dict[str, Any], cache: Path) -> PieceOrder:
    bank = PieceBank(cache / "bank", "key", {"pooled": "float32"})
    return PieceOrder((record,), ExtractOptions(), (bank,), (str(bank.path),), (("pooled",),), str(cache))


def answer_of(record: dict[str, Any], sample: Dataset, cache: Path) -> dict[str, Any]:
    with probe_file(cache) as probe:
        return prepare(probe, order_for(record, cache), sample)


def test_a_worker_computes_two_images_and_names_its_engine(
    lite: Backbone, sample: Dataset, tmp_path: Path, pixels: Any
) -> None:
    answer = answer_of(network_record(lite), sample, tmp_path)
    assert (answer["problem"], answer["engine"]) == ("", "pixels")
    assert answer["values"][0, "pooled"].shape == (2, 64)


def test_other_weights_are_refused_and_both_are_named(
    lite: Backbone, sample: Dataset, tmp_path: Path, pixels: Any
) -> None:
    record = network_record(lite)
    record["recipe"] = {**record["recipe"], "weights": "those of the client"}
    assert answer_of(record, sample, tmp_path)["problem"] == (
        f"its efficientnet_lite0 differs from the client's in weights, which is {lite.recipe['weights']} there and "
        "those of the client here: use the same weights and the same code on all machines"
    )
    assert pixels == []


def test_a_network_that_the_worker_does_not_have(lite: Backbone, sample: Dataset, tmp_path: Path, pixels: Any) -> None:
    record = network_record(lite)
    record["source"] = {"backbone": str(tmp_path / "none.keras"), "weights": "own"}
    assert "there is no model file" in answer_of(record, sample, tmp_path)["problem"]


def test_a_dataset_that_is_not_there_is_refused(
    lite: Backbone, sample: Dataset, photos: Path, tmp_path: Path, pixels: Any
) -> None:
    photos.rename(tmp_path / "elsewhere")
    problem = answer_of(network_record(lite), sample, tmp_path)["problem"]
    assert "cannot read the images that the client reads, the first is '" in problem
    assert "put the dataset on a disk that all machines share" in problem


def test_broken_images_are_no_reason(lite: Backbone, photos: Path, tmp_path: Path, pixels: Any) -> None:
    for path in photos.rglob("*.*"):
        path.write_bytes(b"broken" + path.name.encode())
    dataset = fb.load_dataset(str(photos))
    broken = DatasetCutter(dataset).cut(dataset.distinct()[:3])
    assert answer_of(network_record(lite), broken, tmp_path)["problem"] == ""


def test_engines_stay_for_the_next_task_of_the_same_order(
    lite: Backbone, sample: Dataset, tmp_path: Path, pixels: Any
) -> None:
    for _ in range(2):
        answer_of(network_record(lite), sample, tmp_path)
    assert len(pixels) == 1


def test_a_file_of_weights_travels_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {"backbone": "vgg16", "architecture": "vgg16:v1", "preprocessing": "x", "image_size": 32}
    network: Any = SimpleNamespace(recipe=recipe, spec=None, name="vgg16", weights="own.weights.h5")
    monkeypatch.chdir(tmp_path)
    Path("own.weights.h5").touch()
    assert network_record(network)["source"]["weights"] == str(tmp_path / "own.weights.h5")


def test_the_difference_is_relative_to_the_largest_feature_of_a_row() -> None:
    one, other = np.array([[1.0, 2.0], [10.0, 0.0]]), np.array([[1.0, 2.5], [10.0, 0.1]])
    assert relative_difference(one, other) == pytest.approx(0.2)
    assert relative_difference(one, one) == 0
    assert relative_difference(one, other[:1]) == float("inf")
