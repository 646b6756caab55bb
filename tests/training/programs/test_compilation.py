"""What XLA compiles computes what TensorFlow does: all activations, losses and update rules, in one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featurebank.system.runtime import import_tensorflow
from featurebank.training import programs
from featurebank.training.optimizers import OPTIMIZERS, WITH_MOMENTUM, Regularization, Rule, Step, take_step

pytestmark = pytest.mark.heavy

RULES = [
    *(Rule(name) for name in OPTIMIZERS),
    *(Rule(name, momentum=True) for name in WITH_MOMENTUM),
    Rule("sgd", momentum=True, nesterov=True),
]
HEADS, IMAGES, CLASSES = 2, 6, 4


def activated(x: Any) -> dict[str, Any]:
    """Returns the values and the slopes of each activation."""
    from featurebank.training.programs.layers import ACTIVATIONS

    tf, found = import_tensorflow(), {}
    for name, function in ACTIVATIONS.items():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        found[name] = value, tape.gradient(value, x)
    return found


def losses(logits: Any, labels: Any) -> dict[str, Any]:
    """Returns the losses of heads with smoothing, class weights and sample weights, their hits and their gradients."""
    from featurebank.training.programs.losses import mean_losses, penalties, summed_losses

    tf = import_tensorflow()
    options = {
        "label_smoothing": tf.constant([0.0, 0.2]), "l1": tf.constant([0.0, 0.1]), "l2": tf.constant([0.3, 0.0]),
        "class_weight": tf.constant([[1.0, 2.0, 0.5, 1.0], [1.0] * CLASSES]),
    }  # fmt: skip
    weights, of_images = tf.constant([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]), tf.linspace(0.5, 2.0, IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        mean = mean_losses(logits, labels, weights, options, of_images)
        total = tf.reduce_sum(mean[0])
    return {
        "training": mean, "gradient": tape.gradient(total, logits),
        "validation": summed_losses(logits, labels, weights, options),
        "penalties": penalties({"kernel_dense1": logits}, options),
    }  # fmt: skip


def steps(kernel: Any, gradient: Any) -> dict[str, Any]:
    """Returns a kernel and the slots of each update rule after a step, with all that changes a step."""
    tf, found = import_tensorflow(), {}
    extra = Regularization(0.1, 0.01, 0.02, start=kernel / 2, l2_sp=0.3, max_norm=1.5, axes=[1])
    at = Step(rate=0.1, momentum=0.7, number=tf.constant(3.0), active=1.0)
    for rule in RULES:
        slots = tuple(slot + tf.square(kernel) for slot in rule.empty_slots(kernel))  # as after other steps
        found[str(rule)] = take_step(rule, kernel, slots, gradient, at, regularization=extra)
    return found


def layers(x: Any) -> dict[str, Any]:
    """Returns x with units dropped, and normalised by the statistics of the batch."""
    from featurebank.training.dropout import dropped
    from featurebank.training.programs.normalisation import batch_statistics, moved, normalized

    tf = import_tensorflow()
    units = {name: tf.ones((HEADS, CLASSES)) * value for name, value in (("gamma_a", 1.5), ("beta_a", 0.3))}
    statistics = batch_statistics(x, tf.constant([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]))
    means = {"mean": statistics[0] / 2}, {"mean": statistics[0]}
    return {
        "dropped": dropped(x, tf.constant([0.3, 0.6]), 1, tf.constant([3, 4]), tf.constant(7)),
        "normalized": normalized(x, "a", units, statistics),
        "moved": moved(*means, tf.constant([0.9, 0.5]), tf.constant([1.0, 0.0])),
    }


def test_all_parts_of_the_programs_are_those_of_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = import_tensorflow()
    from featurebank.training.programs.compilation import CompiledFunction

    @CompiledFunction
    def everything(x: Any, gradient: Any, labels: Any) -> Any:
        return activated(x), losses(x, labels), steps(x, gradient), layers(x)

    random = np.random.default_rng(0)
    x, gradient = (random.normal(size=(HEADS, IMAGES, CLASSES)).astype(np.float32) for _ in range(2))
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(programs, "XLA", compiled)
        found.append(everything(tf.constant(x), tf.constant(gradient), tf.constant([0, 1, 2, 3, 1, 2])))
    assert len(found[0][0]) > 7 <= len(found[0][2]), "or this would compare little"
    tf.nest.map_structure(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), *found)
