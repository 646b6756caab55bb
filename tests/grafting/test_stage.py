"""A graft says of images what the head says of their stored features, and proves it each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener

from featurebank import (
    backbone_from_model,
    extract,
    graft,
    load_backbone,
    load_dataset,
    make_head,
    open_bank,
    train_heads,
)
from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetError, HeadError, WeightsError
from featurebank.grafting import JoinedModel
from featurebank.grafting.proof import tolerance_of
from featurebank.grafting.ranked_layers import best_in_layers
from featurebank.runs.run import FINETUNE, RunRecord, read_run

pytestmark = pytest.mark.heavy

RunOf = Callable[..., RunRecord]


CUT = "block_2_add"


@pytest.fixture(scope="module")
def network() -> Backbone:
    return load_backbone("tiny:inverted")


@pytest.fixture(scope="module")
def bank(place: Path, shown: Path, network: Backbone) -> Bank:
    taps = ["pooled", "map", f"{CUT}:max", CUT]
    return extract(load_dataset(str(shown)), network, taps, cache=place / "stage", store="float32")


def places(bank: Bank, split: str) -> np.ndarray:
    return np.flatnonzero(bank.splits() == split)


def resized(bank: Bank, positions: np.ndarray, backbone: Backbone) -> np.ndarray:
    dataset = load_dataset(bank.manifest.dataset["spec"])
    found = [dataset.image(dataset.ids.index(bank.ids()[position])) for position in positions]
    return np.stack([backbone.resize(image) for image in found])


def test_a_tail_goes_on_where_the_trunk_ends(bank: Bank, run_of: RunOf) -> None:
    run = run_of("tail", CUT, epochs=1, cut=CUT, hidden_units=4)
    model = graft(bank, run)
    names = [layer.name for layer in model.layers]
    trunk = [layer.name for layer in load_recorded(bank.recipe, bank.manifest.source).network().layers]
    assert names[: len(trunk)] == trunk
    assert names[len(trunk) :] == ["head_pool", "head_dense0", "head_logits", "probabilities", "all_classes"]
    assert all(type(operation).__module__.startswith("keras.") for operation in model.operations)
    kept = read_run(bank.path / "runs" / f"{run.run}.json")
    assert kept is not None
    assert kept.graft is not None
    assert kept.graft["difference"] <= 1e-4


@pytest.mark.parametrize(
    ("kind", "tap", "params"),
    [
        ("softmax", "pooled", {"epochs": 5, "standardize": True}),
        ("mlp", "map", {"epochs": 5, "hidden_units": 8, "activation": "tanh"}),
        ("ridge", f"{CUT}:max", {"calibrate": "temperature"}),
    ],
)
def test_one_keras_model(
    kind: str, tap: str, params: dict[str, Any], bank: Bank, network: Backbone, run_of: RunOf
) -> None:
    run, reporter = run_of(kind, tap, **params), Listener()
    model = graft(bank, run, reporter=reporter)
    assert (model.input.shape, model.output.shape) == ((None, 32, 32, 3), (None, 3))
    chosen = places(bank, "val")
    found = np.asarray(model(resized(bank, chosen, network).astype(np.float32)))
    head = make_head(kind, run.params).fit(
        bank.features(tap, "train"), bank.labels("train"), (bank.features(tap, "val"), bank.labels("val"))
    )
    assert np.abs(found[:, :2] - head.predict_proba(bank.rows(tap, chosen))).max() < 1e-4
    assert (found[:, 2] == 0).all(), "there was no cow in training"
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    kept = read_run(bank.path / "runs" / f"{run.run}.json")
    assert kept is not None
    assert kept.graft is not None
    assert (kept.graft["images"], kept.graft["tolerance"]) == (16, 1e-4)
    assert f"{kept.graft['difference']:.1e} (allowed: 0.0001)" in reporter.said[-1]
    assert replace(kept, graft=None) == run, "all else of the record stays"


def test_neighbours_are_joined(bank: Bank, network: Backbone, run_of: RunOf) -> None:
    run = run_of("knn", f"{CUT}:max", n_neighbors=3)
    model = graft(bank, run)
    assert isinstance(model, JoinedModel)
    chosen = places(bank, "val")
    found = model.predict(resized(bank, chosen, network), batch_size=4)
    assert (found.shape, found.dtype) == ((len(chosen), 3), np.float32)
    right = bank.labels()[chosen] == found.argmax(axis=1)
    assert abs(right.mean() - run.metrics["val"]["accuracy"]) < 1e-6
    assert model.about.proof is not None
    assert model.about.proof.difference <= 1e-4
    assert model.predict(np.empty((0, 32, 32, 3))).shape == (0, 3)


class Rounding:
    """A head of nothing but edges: the last bits of the features decide."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        bits = np.bitwise_xor.reduce(np.ascontiguousarray(X).view(np.uint32) & 1, axis=1)
        return np.eye(2)[bits]


def test_features_at_the_edge_of_a_split_are_told_and_no_error(bank: Bank) -> None:
    reporter = Listener()
    assert isinstance(graft(bank, Rounding(), reporter=reporter), JoinedModel)
    assert len(reporter.warned) == 1
    assert "within rounding" in reporter.warned[0]


def test_a_joined_trunk_of_other_features_is_noticed(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    head = make_head("knn", {"n_neighbors": 1}).fit(bank.features("pooled", "train"), bank.labels("train"))
    rows = Bank.rows
    monkeypatch.setattr(Bank, "rows", lambda self, tap, positions: rows(self, tap, positions) * np.float32(1.01))
    with pytest.raises(HeadError, match=r"other features for '.*' than are stored .* differ by 0.0.* at most 0.001"):
        graft(bank, head)


def test_a_head_without_a_run(bank: Bank, network: Backbone) -> None:
    head = make_head("nearest_mean").fit(bank.features("map", "train"), bank.labels("train"))
    model = graft(bank, head, tap="map", backbone=network)
    assert model.name == "tiny.inverted_classifier"
    with pytest.raises(HeadError, match=r"trained on 256 features, but tap 'block_2_add:max' has 8: pass the tap that"):
        graft(bank, head, tap=f"{CUT}:max")


def test_the_graft_is_free_of_the_names_of_its_parts(place: Path, shown: Path) -> None:
    """Preprocessing and head both use functions of Keras that are named by themselves."""
    import keras

    inputs = keras.Input((16, 16, 3))
    x = keras.ops.abs(keras.layers.Conv2D(4, 3, name="first")(inputs))
    x = keras.ops.sign(x) * keras.ops.maximum(keras.layers.Conv2D(6, 3, padding="same", name="second")(x), 0.0)[..., :4]
    own = backbone_from_model(keras.Model(inputs, keras.layers.Conv2D(5, 3, name="last")(x)), preprocessing="caffe")
    bank = extract(load_dataset(str(shown)), own, ["pooled"], cache=place / "own")
    head = make_head("logistic", {"calibrate": "temperature"})
    head.fit(
        bank.features("pooled", "train"), bank.labels("train"), (bank.features("pooled", "val"), bank.labels("val"))
    )
    assert graft(bank, head, backbone=own).output.shape == (None, 3)
    with pytest.raises(ConfigError, match="was a model in memory"):
        graft(bank, head)


def test_float16_and_views(place: Path, shown: Path, network: Backbone) -> None:
    options: dict[str, Any] = {"store": "float16", "views": 1, "augment": "flip"}
    bank = extract(load_dataset(str(shown)), network, ["map:max"], cache=place / "float16", **options)
    assert tolerance_of(bank, "map:max") == 0.01
    run = train_heads(bank, [{"kind": "softmax", "epochs": 5}], taps=["map:max"])[0]
    reporter = Listener()
    graft(bank, run, reporter=reporter)
    assert "(allowed: 0.01)" in reporter.said[-1]


def test_other_weights_are_refused(bank: Bank, run_of: RunOf) -> None:
    other = load_backbone("tiny:inverted", weights="random:1")
    with pytest.raises(WeightsError, match="made by another weights than tiny:inverted with weights random:1"):
        graft(bank, run_of("ridge"), backbone=other)


@pytest.fixture
def copied(bank: Bank, tmp_path: Path) -> Bank:
    """A copy of the bank, whose images are in a folder of this test."""
    shutil.copytree(bank.manifest.dataset["spec"].removeprefix("folder:"), tmp_path / "photos")
    shutil.copytree(bank.path, tmp_path / "bank")
    record = {**bank.manifest.dataset, "spec": f"folder:{tmp_path / 'photos'}"}
    replace(bank.manifest, dataset=record).save(tmp_path / "bank")
    return open_bank(tmp_path / "bank")


def test_images_that_are_gone(copied: Bank, tmp_path: Path) -> None:
    head = make_head("ridge").fit(copied.features("pooled", "train"), copied.labels("train"))
    for number, path in enumerate(sorted((tmp_path / "photos").glob("*/*/*"))):
        if number % 15:
            path.unlink()
    reporter = Listener()
    graft(copied, head, reporter=reporter)
    assert "on 3 images of the bank" in reporter.said[-1]
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(DatasetError, match=r"cannot be proved on images of 'bank'.*--no-proof") as error:
        graft(copied, head)
    assert "\n" not in str(error.value)
    assert graft(copied, head, proof=False).output.shape == (None, 3)


def test_a_graft_that_is_not_the_head_is_noticed(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of other images: as if the bank's rows were those of others."""
    head = make_head("ridge", {"alpha": 0.1}).fit(bank.features("pooled", "train"), bank.labels("train"))
    rows = Bank.rows
    monkeypatch.setattr(Bank, "rows", lambda self, tap, positions: rows(self, tap, positions)[::-1])
    with pytest.raises(HeadError, match=r"other probabilities for '.*' than the head.* differ by .* at most 0.0001"):
        graft(bank, head)


def test_layers_that_are_not_the_head_are_noticed(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    head = make_head("ridge").fit(bank.features("pooled", "train"), bank.labels("train"))
    monkeypatch.setattr(head, "weights_", head.weights_.copy())
    layers = type(head).keras_layers_

    def wrong(self: Any, tensor: Any) -> Any:
        kept, self.weights_ = self.weights_, self.weights_ * 1.05
        try:
            return layers(self, tensor)
        finally:
            self.weights_ = kept

    monkeypatch.setattr(type(head), "keras_layers_", wrong)
    with pytest.raises(HeadError, match="as layers the head returns other probabilities"):
        graft(bank, head)


def test_the_test_split_stays_shut(copied: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    rows = Bank.rows

    def spy(self: Bank, tap: str, positions: Any) -> np.ndarray:
        asked.extend(self.splits()[positions].tolist())
        return rows(self, tap, positions)

    monkeypatch.setattr(Bank, "rows", spy)
    splits = np.where(np.arange(len(copied)) % 2, "test", "val")
    monkeypatch.setattr(Bank, "splits", lambda self: splits)
    head = make_head("ridge").fit(copied.features("pooled", "train"), copied.labels("train"))
    graft(copied, head)
    assert set(asked) == {"val"}
    assert len(asked) == 16


def test_the_best_in_layers(copied: Bank) -> None:
    """What is better and no stack of layers is passed over, and named."""
    listener = Listener()
    runs = train_heads(copied, [{"kind": "knn", "n_neighbors": 1}, {"kind": "ridge"}, {"kind": "ridge", "alpha": 1e9}])
    by_head = {run.head: run for run in reversed(runs)}
    knn = replace(by_head["knn"], metrics={**runs[0].metrics, "val": {**runs[0].metrics["val"], "accuracy": 1.0}})
    chosen = best_in_layers(copied, [knn, *(run for run in runs if run.head == "ridge")], listener)
    assert chosen == next(run for run in runs if run.head == "ridge")
    assert [line.partition(" cannot become")[0] for line in listener.said] == [
        f"skipping {knn.run} (1.0000): knn(n_neighbors=1)"
    ]
    with pytest.raises(HeadError, match="cannot become Keras layers"):
        best_in_layers(copied, [knn])
    tuned = replace(knn, head=FINETUNE)
    assert best_in_layers(copied, [tuned]) == tuned, "its model is layers already"
