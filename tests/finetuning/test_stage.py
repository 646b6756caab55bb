"""A fine-tune begins as its head, never ends below it, and is a run like others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener

import featurebank as fb
from featurebank import finetune, load_model, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.bank.locks.claims import NAME as CLAIMS
from featurebank.bank.maintenance.unfinished import PREDICTIONS
from featurebank.errors import ConfigError, DatasetError, HeadError, HeadInputError, WeightsError
from featurebank.extraction.source_images import SourceImages
from featurebank.finetuning import FinetuneOptions, run_finetune
from featurebank.finetuning.checkpoint import Checkpoint
from featurebank.finetuning.input_scaling import channel_moments, normalized
from featurebank.finetuning.program import TrainedModel
from featurebank.finetuning.task import predict_rows
from featurebank.runs.finetuned import finetuned_model
from featurebank.runs.run import RunRecord, load_runs, read_run
from featurebank.system.progress import Reporter
from featurebank.training.programs.keras_step import KerasStep

pytestmark = pytest.mark.heavy

QUICK: dict[str, Any] = {"unfreeze": ["last", "all"], "epochs": 2, "batch_size": 8, "keep_going": True}


@pytest.fixture
def clean(bank: Bank, head: RunRecord) -> Bank:
    """The bank with its head alone."""
    for path in (bank.path / "runs").iterdir():
        if path.stem != head.run:
            path.unlink()
    return bank


def answers(run: RunRecord, images: SourceImages) -> np.ndarray:
    model = finetuned_model(run)
    return np.asarray(model(images.read(np.arange(len(images))).astype(np.float32)))


def test_a_run_on_the_leaderboard(clean: Bank, head: RunRecord, said: Listener) -> None:
    run = fb.finetune("best", bank=clean, epochs=25, unfreeze=["last", "all"], batch_size=8, reporter=said)
    val = SourceImages(clean, ["val"])
    found = answers(run, val)
    assert run == read_run(clean.path / "runs" / f"{run.run}.json")
    assert run.metrics["val"]["accuracy"] == np.mean(found.argmax(axis=1) == val.labels) > 0.9
    np.testing.assert_array_equal(run.rights(), found.argmax(axis=1) == val.labels)
    assert run.metrics["train"]["accuracy"] > 0.9
    assert run.finetune is not None
    assert run.history is not None
    epoch_0, gain = run.finetune["epoch_0"]["accuracy"], run.finetune["gain"]
    assert epoch_0 == head.metrics["val"]["accuracy"] < 0.8
    assert gain["accuracy"] == pytest.approx(run.metrics["val"]["accuracy"] - epoch_0)
    assert gain["accuracy_interval"][0] > 0
    assert gain["worth"].startswith("worth it: +")
    assert f">{gain['worth']}</" in str(run._repr_html_())
    assert run.history["val_accuracy"][run.history["best_epoch"] - 1] == run.metrics["val"]["accuracy"]
    assert sum(phase["epochs"] for phase in run.finetune["phases"]) == len(run.history["loss"])
    assert len(run.history["accuracy"]) == len(run.history["loss"])
    assert run.history["accuracy"][0] < run.history["accuracy"][-1] <= 1
    assert fb.leaderboard(clean)[0] == run == fb.select(load_runs(clean))
    assert f"epoch 0, the head: validation accuracy {epoch_0:.4f}" in "\n".join(said.said)
    left = {path.suffix for path in (clean.path / "runs").iterdir() if path.name != CLAIMS}
    assert left <= {".json", ".head", ".keras", PREDICTIONS}

    again = fb.finetune(run=head.run, bank=clean, epochs=25, unfreeze=["last", "all"], batch_size=8, reporter=said)
    assert again == run
    assert said.said[-1] == f"fine-tuned before: run {run.run}"

    assert load_model(run.saved_path).classes == clean.classes
    np.testing.assert_allclose(fb.graft(clean, run)(val.read(np.arange(9)).astype(np.float32)), found[:9], atol=1e-6)
    exported = fb.export(run, clean.path / "taken.keras")
    assert fb.predict(exported, val.read(np.arange(1)))[0].label == clean.classes[found[0].argmax()]

    further = fb.finetune(run, unfreeze=["head"], epochs=1, reporter=said)
    assert further.finetune is not None
    assert further.finetune["epoch_0"]["accuracy"] == run.metrics["val"]["accuracy"]

    train_heads(clean, [{"kind": "nearest_mean"}])  # a grid leaves fine-tunes alone
    assert run.saved_path.is_file()


def test_weights_of_images_and_names_of_classes_count(
    clean: Bank, head: RunRecord, said: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bank, "_role_digests", lambda _: [])  # the bank stays that of the head
    ones, some = np.ones(len(clean)), np.arange(len(clean)) % 3.0
    found = []
    for patience, weights in enumerate((None, ones, some, None), 10):  # another patience is another run
        monkeypatch.setattr(Bank, "weight_column", None if weights is None else "w")
        monkeypatch.setattr(Bank, "_weights", lambda _, weights=weights: weights)
        named = {"class_weight": {"ant": 5.0}} if patience == 13 else {}
        run = finetune(
            head, bank=clean, unfreeze=["last"], epochs=1, batch_size=8, patience=patience, reporter=said, **named
        )
        assert run.history is not None
        found.append(run.history["loss"][0])
    assert found[0] == found[1]
    assert len(set(found)) == 3
    line = "training images are weighted by the column 'w', from 1 to 2"
    assert any(text.startswith(line) for text in said.said)
    assert any("no training image of class 'cow'" in str(text) for text in said.warned)
    with pytest.raises(HeadInputError, match="class_weight names antt, which is no class: did you mean 'ant'"):
        finetune(head, bank=clean, unfreeze=["last"], class_weight={"antt": 2.0})


def test_it_never_ends_below_its_head(clean: Bank, head: RunRecord, said: Listener) -> None:
    """With a learning rate that ruins everything, the model is the head's."""
    run = finetune(
        head, unfreeze=["last"], epochs=2, learning_rate=1e-30, batch_size=8, monitor="val_loss", reporter=said
    )
    assert run.metrics["val"]["accuracy"] >= head.metrics["val"]["accuracy"]
    head = train_heads(clean, [{"kind": "lda"}])[0]
    assert head.metrics["val"]["accuracy"] > 0.6
    ruined = finetune(head, unfreeze=["last", "all"], epochs=1, learning_rate=30.0, reporter=said)
    assert ruined.finetune is not None
    assert ruined.history is not None
    assert ruined.history["best_epoch"] == 0
    assert ruined.metrics["val"]["accuracy"] == head.metrics["val"]["accuracy"]
    assert ruined.finetune["gain"]["worth"].startswith("not worth it: ")
    assert [phase["unfreeze"] for phase in ruined.finetune["phases"]] == ["last"], "the second phase is skipped"
    assert "phase 1 brought no improvement, so 1 more phase is skipped (--keep-going continues)" in said.said
    val = SourceImages(clean, ["val"])
    graft = fb.graft(clean, head, proof=False)
    images = val.read(np.arange(len(val))).astype(np.float32)
    np.testing.assert_allclose(answers(ruined, val), np.asarray(graft(images)), atol=1e-6)


def test_an_explosion_is_answered_once(
    clean: Bank, head: RunRecord, said: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, rates = KerasStep.step, []

    def watched(
        self: KerasStep, images: Any, labels: Any, rate: float, number: int, *weights: Any
    ) -> tuple[float, float]:
        rates.append(rate)
        loss, right = step(self, images, labels, rate, number, *weights)
        return float("nan") if len(rates) in bad else loss, right

    monkeypatch.setattr(KerasStep, "step", watched)
    bad = {8}  # in the second epoch of six steps
    run = finetune(head, unfreeze=["all"], epochs=2, batch_size=8, schedule="constant", seed=1, reporter=said)
    assert rates == pytest.approx([0.01] * 8 + [0.001] * 5)
    assert run.notes == tuple(said.warned[1:]), "the first one is about the class without training images"
    assert said.warned[1].startswith("phase 1, epoch 2, step 3: the loss exploded: trying again from the best weights")
    assert run.history is not None
    assert len(run.history["loss"]) == 2
    assert max(run.history["accuracy"]) <= 1, "the images of the epoch that exploded count once"

    rates.clear()
    bad = {3, 5}
    run = finetune(head, unfreeze=["all"], epochs=2, batch_size=8, schedule="constant", seed=2, reporter=said)
    assert len(rates) == 5
    assert said.warned[-1].startswith(
        "phase 1, epoch 1, step 2: the loss exploded again: the phase ends; try a smaller"
    )
    assert run.metrics["val"]["accuracy"] == head.metrics["val"]["accuracy"]


def test_a_loss_that_grows_is_an_explosion(
    clean: Bank, head: RunRecord, said: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 2.0, 9.0, 30.0, 60.0, 60.0, *[1.0] * 100])
    monkeypatch.setattr(KerasStep, "step", lambda *_: (next(losses), 4.0))
    finetune(head, unfreeze=["all"], epochs=1, batch_size=8, seed=3, reporter=said)
    assert said.warned[1:] == [
        "phase 1, epoch 1, step 5: the loss exploded: trying again from the best weights so far, with a tenth of the "
        "learning rate"
    ]


@pytest.mark.parametrize(
    ("options", "stops"),
    [
        ({"optimizer": "adam", "augment": "flip,noise=.1", "dropout": 0.3}, (3, 9)),
        pytest.param({"schedule": "plateau", "plateau_patience": 1, "normalize": False}, (1,), marks=pytest.mark.slow),
        ({"batch_norm": "train", "schedule": "constant", "warmup": 1, "explodes": True}, (3, 4)),
    ],
)
def test_it_goes_on_as_if_nothing_had_happened(
    options: dict[str, Any],
    stops: tuple[int, ...],
    clean: Bank,
    head: RunRecord,
    said: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped after any checkpoints, also after that of an explosion, the same command gives the same weights."""
    wanted = {**QUICK, **options, "checkpoint_every": 2}
    step = KerasStep.step

    def exploding(
        self: KerasStep, images: Any, labels: Any, rate: float, number: int, *weights: Any
    ) -> tuple[float, float]:
        loss, right = step(self, images, labels, rate, number, *weights)
        return float("nan") if number == 8 and rate > 0.005 else loss, right

    if wanted.pop("explodes", False):
        monkeypatch.setattr(KerasStep, "step", exploding)
    whole = finetune(head, **wanted)
    expected, history = [w.numpy() for w in finetuned_model(whole).weights], whole.history
    for path in (whole.saved_path, clean.path / "runs" / f"{whole.run}.json"):
        path.unlink()
    save, saved = Checkpoint.save, 0

    def stopping(self: Checkpoint, path: Path) -> None:
        nonlocal saved
        save(self, path)
        saved += 1
        if saved in stops:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", stopping)
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            finetune(head, **wanted, reporter=said)
    again = finetune(head, **wanted, reporter=said)
    assert sum(line.startswith("resuming at phase ") for line in said.said) == len(stops)
    assert again.history == history
    for found, weight in zip(finetuned_model(again).weights, expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), weight)


def test_curves_are_written_as_they_come_and_going_on_doubles_none(
    clean: Bank, head: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def curve(tag: str) -> list[tuple[int, float]]:
        (place,) = (tmp_path / "pooled").iterdir()
        found = EventAccumulator(str(place))
        found.Reload()
        return [(event.step, event.value) for event in found.Scalars(tag)]

    said: list[list[tuple[int, float]]] = []

    class Watching(Reporter):
        def say(self, line: str) -> None:
            if line.startswith("phase 1, epoch 2, step 4"):
                said.append(curve("epoch/val_accuracy"))
                raise KeyboardInterrupt

    wanted: dict[str, Any] = {**QUICK, "seed": 5, "validate_every": 2, "tensorboard": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        finetune(head, **wanted, reporter=Watching())
    assert [step for step, _ in said[0]] == [0, 1]
    assert [step for step, _ in curve("step/loss")] == [2, 4, 7]
    run = finetune(head, **wanted)
    assert run.history is not None
    expected = [head.metrics["val"]["accuracy"], *run.history["val_accuracy"]]
    assert curve("epoch/val_accuracy") == [(epoch, pytest.approx(value)) for epoch, value in enumerate(expected)]
    assert [step for step, _ in curve("step/loss")] == [entry["taken"] for entry in run.history["steps"]]
    assert [step for step, _ in curve("step/val_loss")] == [2, 4, 7, 9, 12, 14, 17, 19]
    again = curve("val/accuracy")
    finetune(head, **wanted)
    assert curve("val/accuracy") == again


@pytest.mark.parametrize(("seconds", "saved"), [(0.0, 10), (3600.0, 2)])
def test_checkpoints_come_by_the_clock(
    seconds: float, saved: int, clean: Bank, head: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of the ten steps, or of the two epochs alone."""
    monkeypatch.setattr("featurebank.finetuning.loop._CHECKPOINT_S", seconds)
    monkeypatch.setattr("featurebank.finetuning.loop._CHECKPOINT_COST", 0)
    save, count = Checkpoint.save, 0

    def counting(self: Checkpoint, path: Path) -> None:
        nonlocal count
        count += 1
        save(self, path)

    monkeypatch.setattr(Checkpoint, "save", counting)
    finetune(head, unfreeze=["last"], epochs=2, batch_size=8, patience=9, seed=8, checkpoint_every=None)
    assert count == saved


def test_a_damaged_checkpoint_is_told_and_not_used(clean: Bank, head: RunRecord, said: Listener) -> None:
    run = finetune(head, unfreeze=["last"], epochs=1)
    run.saved_path.unlink()
    run.saved_path.with_suffix(".checkpoint").write_bytes(b"no checkpoint")
    again = finetune(head, unfreeze=["last"], epochs=1, reporter=said)
    assert again.history == run.history
    assert said.warned[-1].endswith("is ignored, because it cannot be read (ValueError): the fine-tune starts again")


def test_the_test_split_is_opened_for_it(shown: Path, tiny: Backbone, tmp_path: Path, said: Listener) -> None:
    bank = fb.extract(fb.load_dataset(str(shown / "train"), split=(0.5, 0.25, 0.25)), tiny, cache=tmp_path)
    head = train_heads(bank, [{"kind": "ridge"}])[0]
    run = finetune(head, unfreeze=["all"], epochs=1)
    fb.evaluate_test(bank, head)
    tested = fb.evaluate_test(bank, run, reporter=said)
    assert f"test images were opened once before, for {head.run}" in said.warned[-1]
    test = SourceImages(bank, ["test"])
    assert tested.metrics["test"]["accuracy"] == np.mean(answers(run, test).argmax(axis=1) == test.labels)
    run.saved_path.unlink()
    with pytest.raises(
        HeadError, match=rf"the model of run {run.run}, .* is missing or was changed: fine-tune again from"
    ):
        finetuned_model(run)


def test_best_is_the_best_head_that_can_be_grafted(clean: Bank, said: Listener) -> None:
    train_heads(clean, [{"kind": "knn", "n_neighbors": 1}, {"kind": "ridge", "alpha": 1e9}])
    runs = [run for run in load_runs(clean) if run.head == "knn"]
    better = replace(runs[0], metrics={**runs[0].metrics, "val": {**runs[0].metrics["val"], "accuracy": 1.0}})
    better.save()
    run = finetune("best", bank=clean, unfreeze=["head"], epochs=1, reporter=said)
    assert run.params["from"] not in {better.run, run.run}
    passed = f"skipping {better.run} (1.0000): knn(n_neighbors=1) cannot become Keras layers ("
    assert any(line.startswith(passed) and line.endswith(")") for line in said.said)
    better_head = [run for run in load_runs(clean) if run.run == better.run]
    with pytest.raises(HeadError, match=r"^knn.* cannot become Keras layers .*: softmax, mlp"):
        finetune(better_head[0], unfreeze=["all"])


def test_epoch_0_has_to_be_the_head(clean: Bank, head: RunRecord) -> None:
    rights = head.rights()
    assert rights is not None
    wrong = replace(head, right=np.packbits(~rights).tobytes().hex())
    with pytest.raises(
        HeadError,
        match=r"the grafted model does not reproduce its head: .* 24 images are classified differently \(allowed: 0\)",
    ):
        finetune(wrong, bank=clean, unfreeze=["all"])


def test_normalised_input_for_training_from_scratch(
    clean: Bank, head: RunRecord, train: SourceImages, model: Any
) -> None:
    mean, deviation = channel_moments(train)
    pixels = train.read(np.arange(len(train))).reshape(-1, 3)
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(deviation, pixels.std(axis=0))
    with pytest.raises(ConfigError, match="normalize changes what the first layer gets, but phase 1 is 'last'"):
        finetune(head, unfreeze=["last"], normalize=True)
    with pytest.raises(ConfigError, match="this network has no preprocessing layer: leave it out"):
        finetune(head, unfreeze=["all"], normalize=True)


def test_basenet_from_scratch(shown: Path, tmp_path: Path, said: Listener) -> None:
    import keras

    backbone = fb.load_backbone("basenet_plus", weights="random:1", image_size=16)
    bank = fb.extract(fb.load_dataset(str(shown)), backbone, ["map"], cache=tmp_path)
    head = train_heads(bank, [{"kind": "mlp", "hidden_units": 4, "epochs": 2, "tap": "map"}])[0]
    wanted: dict[str, Any] = {"unfreeze": ["all"], "normalize": True, "epochs": 10, "batch_size": 8, "reporter": said}
    run = finetune(head, **wanted)
    assert run.history is not None
    assert run.history["best_epoch"] > 0
    assert run.metrics["val"]["accuracy"] >= head.metrics["val"]["accuracy"]
    model = finetuned_model(run)
    images = SourceImages(bank, ["train"])
    seen = keras.Model(model.input, model.get_layer("preprocessing").output)
    through = np.asarray(seen(images.read(np.arange(len(images))).astype(np.float32)))
    np.testing.assert_allclose(through.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(through.std(axis=(0, 1, 2)), 1, atol=1e-3)
    assert normalized(model, images, "torch:v1").output_shape == model.output_shape


def test_a_network_that_was_given_stays_as_it_is(shown: Path, tmp_path: Path) -> None:
    from tiny import network

    backbone = fb.backbone_from_model(network()[0], preprocessing="none", name="mine")
    bank = fb.extract(fb.load_dataset(str(shown)), backbone, cache=tmp_path)
    head = train_heads(bank, [{"kind": "softmax", "epochs": 2}])[0]
    with pytest.raises(ConfigError, match="was a model in memory"):
        finetune(head, unfreeze=["all"])
    before = [weight.numpy() for weight in backbone.network().weights]
    run = finetune(head, backbone=backbone, unfreeze=["all"], epochs=3, batch_size=8)
    for weight, old in zip(backbone.network().weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    assert run.metrics["val"]["accuracy"] >= head.metrics["val"]["accuracy"]


def test_batch_normalisation_is_the_backbones_to_decide(
    clean: Bank, head: RunRecord, said: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, Any] = {"unfreeze": ["all"], "epochs": 1, "batch_size": 8, "seed": 6}
    default = finetune(head, **wanted, reporter=said)
    assert default.finetune is not None
    assert default.finetune["batch_norm"] == "train"
    assert "batch_norm" not in default.params
    assert "(the default of tiny" in "\n".join(said.said)
    assert finetune(head, **wanted, batch_norm="train") == default, "the same by another name"
    monkeypatch.setattr("featurebank.backbone.spec.BackboneSpec.finetune_batch_norm", "frozen")
    frozen = finetune(head, **wanted)
    assert frozen.finetune is not None
    assert frozen.run != default.run
    assert frozen.finetune["batch_norm"] == "frozen"
    assert frozen.finetune["phases"][0]["layers"] < default.finetune["phases"][0]["layers"]


def test_validation_within_epochs_changes_nothing_but_is_told(clean: Bank, head: RunRecord, said: Listener) -> None:
    plain = finetune(head, **QUICK)
    plain.saved_path.unlink()
    told = finetune(head, **QUICK, validate_every=2, reporter=said)
    assert told.run == plain.run
    assert told.history is not None
    assert plain.history is not None
    steps = told.history["steps"]
    assert [(entry["epoch"], entry["step"]) for entry in steps[:3]] == [(1, 2), (1, 4), (2, 2)]
    assert {**told.history.recorded, "steps": None} == {**plain.history.recorded, "steps": None}
    json.dumps(told.record(), allow_nan=False)


def test_early_looks_take_the_validation_images_in_parts(
    clean: Bank, head: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five steps an epoch, a look after two and after four of them: two of three parts; the end takes all."""
    taken: list[list[int]] = []

    def noted(network: TrainedModel, images: SourceImages, rows: np.ndarray) -> np.ndarray:
        taken.append(rows.tolist())
        return predict_rows(network, images, rows)

    monkeypatch.setattr("featurebank.finetuning.task.predict_rows", noted)
    whole = finetune(head, **QUICK, seed=11)
    whole.saved_path.unlink()
    taken.clear()
    run = finetune(head, **QUICK, seed=11, validate_every=2, validate_on="part")
    images = len(clean.labels("val"))
    every = list(range(images))
    third = images // 3
    assert taken[1:4] == [every[:third], every[third : 2 * third], every]
    assert run.run == whole.run
    assert whole.history is not None
    assert run.history is not None
    assert {**run.history.recorded, "steps": None} == {**whole.history.recorded, "steps": None}, (
        "no weight depends on a look"
    )


def test_refusals(clean: Bank, head: RunRecord, shown: Path) -> None:
    with pytest.raises(ConfigError, match="run 'best' without its bank"):
        run_finetune("best", FinetuneOptions(unfreeze=["all"]))
    with pytest.raises(ConfigError, match="mixed_precision needs a GPU, and none is visible: leave it out"):
        finetune(head, unfreeze=["all"], mixed_precision=True)
    away = shown.with_name("elsewhere")
    shown.rename(away)
    try:
        with pytest.raises(DatasetError, match=f"the images of '{clean.name}' cannot be read again"):
            finetune(head, unfreeze=["all"], seed=9)
    finally:
        away.rename(shown)


def test_a_bank_made_with_other_weights(shown: Path, tmp_path: Path) -> None:
    from tiny import network

    file = tmp_path / "mine.keras"
    model = network()[0]
    model.save(file)
    backbone = fb.load_backbone(str(file), preprocessing="none")
    bank = fb.extract(fb.load_dataset(str(shown)), backbone, cache=tmp_path)
    head = train_heads(bank, [{"kind": "ridge"}])[0]
    model.get_layer("last").bias.assign_add(np.ones(6, np.float32))
    model.save(file)
    told = "the bank was made by another weights than .*mine.keras .*: extract again with these, or restore the old"
    with pytest.raises(WeightsError, match=told) as error:
        finetune(head, unfreeze=["all"])
    assert "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="weights"):
        finetune(head, backbone=fb.load_backbone(str(file), preprocessing="none"), unfreeze=["all"])


def test_trees_are_no_layers(shown: Path, tiny: Backbone, tmp_path: Path, said: Listener) -> None:
    bank = fb.extract(fb.load_dataset(str(shown)), tiny, cache=tmp_path)
    tree = train_heads(bank, [{"kind": "random_forest", "n_estimators": 3}])[0]
    told = r"^random_forest.* cannot become Keras layers .*: softmax, mlp"
    with pytest.raises(HeadError, match=told) as error:
        finetune(tree, unfreeze=["all"])
    assert "\n" not in str(error.value)
    with pytest.raises(HeadError, match=told):
        finetune("best", bank=bank, unfreeze=["all"], reporter=said)
    assert said.said[0].startswith(f"skipping {tree.run} ("), "nothing is left after it"


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(
    clean: Bank, head: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor, which can do it too, if slowly."""
    monkeypatch.setattr("featurebank.finetuning.stage.check_mixed", lambda: None)
    run = finetune(head, unfreeze=["all"], epochs=12, batch_size=8, mixed_precision=True)
    assert run.history is not None
    assert run.history["best_epoch"] > 0
    model = finetuned_model(run)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    val = SourceImages(clean, ["val"])
    assert run.metrics["val"]["accuracy"] == np.mean(answers(run, val).argmax(axis=1) == val.labels)
