"""A step does what Keras's own training does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from finetunes import options

from featurebank import load_backbone
from featurebank.extraction.source_images import SourceImages
from featurebank.finetuning.phases import plan_phases
from featurebank.finetuning.program import TrainedModel, phase_step
from featurebank.finetuning.task import Task

pytestmark = [pytest.mark.heavy, pytest.mark.xla]

RULES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.05},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "learning_rate": 0.01},
    "clipped": {"optimizer": "sgd", "momentum": 0.0, "global_clipnorm": 0.1, "learning_rate": 0.5},
}


def by_keras(model: Any, given: dict[str, Any], steps: list[tuple[np.ndarray, np.ndarray]]) -> None:
    import keras

    model = keras.Model(model.input, model.get_layer("probabilities").input)
    common = {"learning_rate": given["learning_rate"], "global_clipnorm": given.get("global_clipnorm")}
    if given["optimizer"] == "sgd":
        rule = keras.optimizers.SGD(momentum=given["momentum"], nesterov=given.get("nesterov", False), **common)
    else:
        rule = keras.optimizers.AdamW(weight_decay=given["weight_decay"], **common)
    # Three steps are done sooner than traced. AdamW follows the rounding of a gradient that is zero: as ours, compiled.
    how = {"run_eagerly": True} if given["optimizer"] == "sgd" else {"jit_compile": False}
    model.compile(rule, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **how)
    for images, labels in steps:
        model.train_on_batch(images.astype(np.float32), labels)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_as_keras_trains(name: str, batch_norm: str, model: Any, train: SourceImages) -> None:
    import keras

    given = RULES[name]
    wanted = options(unfreeze=["last"], batch_norm=batch_norm, **given)
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    for layer in other.layers:
        layer.trainable = layer.name in {"last", "head_logits", *(["last_bn"] if batch_norm == "train" else [])}
    rows = [np.arange(0, 16), np.arange(16, 32), np.arange(32, 41)]
    steps = [(train.read(chosen), train.labels[chosen]) for chosen in rows]
    by_keras(other, given, steps)

    (phase,) = plan_phases(model, wanted)
    program = phase_step(TrainedModel(model, wanted), phase, wanted, np.ones(2))
    for number, (images, labels) in enumerate(steps, 1):
        program.step(images, labels, given["learning_rate"], number)
    for mine, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5, err_msg=mine.path)


def test_what_is_frozen_stays(model: Any, train: SourceImages) -> None:
    wanted = options(unfreeze=["head"])
    before = {weight.path: weight.numpy() for weight in model.weights}
    (phase,) = plan_phases(model, wanted)
    phase_step(TrainedModel(model, wanted), phase, wanted, np.ones(2)).step(
        train.read(np.arange(8)), train.labels[:8], 0.1, 1
    )
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == {"head_logits/kernel", "head_logits/bias"}


def test_blocks_further_down_learn_more_slowly(model: Any, train: SourceImages) -> None:
    """With plain gradient descent, a step is proportional to the learning rate."""
    import keras

    moved = {}
    for decay in (1.0, 0.5):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        wanted = options(layer_decay=decay, momentum=0.0)
        (phase,) = plan_phases(copy, wanted)
        before = {w.path: w.numpy() for w in copy.weights}
        phase_step(TrainedModel(copy, wanted), phase, wanted, np.ones(2)).step(
            train.read(np.arange(9)), train.labels[:9], 1, 1
        )
        moved[decay] = {w.path: w.numpy() - before[w.path] for w in copy.weights}
    for name, share in {"head_logits/kernel": 1, "last/kernel": 0.5, "cut/kernel": 0.25}.items():
        np.testing.assert_allclose(moved[0.5][name], share * moved[1.0][name], rtol=1e-3, atol=1e-6, err_msg=name)
        assert np.abs(moved[1.0][name]).max() > 1e-5


def test_class_weights_and_smoothing_are_in_the_loss(model: Any, train: SourceImages) -> None:
    wanted = options(label_smoothing=0.2)
    (phase,) = plan_phases(model, wanted)
    images, labels = train.read(np.arange(9)), train.labels[:9]
    logits = np.asarray(TrainedModel(model, wanted).training(images.astype(np.float32), training=True), np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    weights = np.array([3.0, 0.5])
    expected = np.mean(weights[labels] * -(0.8 * logs[np.arange(9), labels] + 0.1 * logs.sum(axis=1)))
    loss, right = phase_step(TrainedModel(model, wanted), phase, wanted, weights).step(images, labels, 0.0, 1)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert right == (logits.argmax(axis=1) == labels).sum(), "class weights play no part in the accuracy"


def test_val_loss_has_the_smoothing_as_in_keras(model: Any, train: SourceImages) -> None:
    import keras

    calm = keras.models.clone_model(model)
    calm.set_weights(model.get_weights())
    logits = calm.get_layer("head_logits")
    logits.set_weights([0.01 * weight for weight in logits.get_weights()])  # so that no probability is 0
    wanted = options(label_smoothing=0.2)
    network = TrainedModel(calm, wanted)
    found = Task(network, train, train, (), wanted).evaluate()
    logits = network.training(train.read(np.arange(len(train))).astype(np.float32), training=False)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    expected = float(loss(np.eye(logits.shape[1])[train.labels], logits))
    assert found.objective == found.value("val_loss") == pytest.approx(expected, rel=1e-5)
    assert found.loss < found.objective, "the plain cross-entropy"
    plain = Task(network, train, train, (), options()).evaluate()
    assert plain.objective == plain.loss == found.loss


def test_dropout_before_the_last_layer_is_seeded(model: Any, train: SourceImages) -> None:
    def losses(seed: int) -> list[float]:
        wanted = options(dropout=0.5, seed=seed)
        (phase,) = plan_phases(model, wanted)
        program = phase_step(TrainedModel(model, wanted), phase, wanted, np.ones(2))
        return [program.step(train.read(np.arange(9)), train.labels[:9], 0.0, number)[0] for number in (1, 2)]

    first = losses(0)
    assert first == losses(0) != losses(1)
    assert first[0] != first[1]


def test_statistics_follow_within_an_epoch(model: Any) -> None:
    wanted = options()
    (phase,) = plan_phases(model, wanted)
    network, layer = TrainedModel(model, wanted), model.get_layer("last_bn")
    assert layer.momentum == 0.5
    network.set_momenta(phase, 100, None)
    assert layer.momentum == 0.5, "its own is low enough"
    network.set_momenta(phase, 3, None)
    assert layer.momentum**3 == pytest.approx(0.05)
    network.set_momenta(phase, 3, 0.9)
    assert layer.momentum == 0.9
    network.restore_momenta()
    assert layer.momentum == 0.5


@pytest.mark.parametrize(
    ("name", "active"), [("basenet_plus", True), ("basenet_deep", True), ("basenet_plus_norm", False)]
)
def test_dropout_inside_of_the_network_acts_in_training_alone(name: str, active: bool) -> None:
    """A step that changes nothing has another loss at the second time only where dropout has drawn anew."""
    import keras

    size = 32
    network = load_backbone(name, weights="random:0", image_size=size).network()
    logits = keras.layers.Dense(3, name="head_logits")(keras.layers.GlobalAveragePooling2D()(network.output))
    model = keras.Model(network.input, keras.layers.Softmax(name="probabilities")(logits))
    wanted = options(unfreeze=["all"], optimizer="sgd", momentum=0.0)
    trained = TrainedModel(model, wanted)
    (phase,) = plan_phases(model, wanted)
    program = phase_step(trained, phase, wanted, np.ones(3))
    images = np.random.default_rng(0).integers(0, 256, (16, size, size, 3), dtype=np.uint8)
    labels = (np.arange(16) % 3).astype(np.int32)
    first, second = (program.step(images, labels, 0.0, number)[0] for number in (1, 2))
    assert (first != second) == active
    np.testing.assert_array_equal(trained.predict(images), trained.predict(images))
