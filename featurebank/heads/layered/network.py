"""One layered head as a `Network`: its Keras model, and a training step of its own without `fit`'s overhead.

The step is TensorFlow's for the layers, whose convolutions are faster than XLA's on a processor, and XLA's for the
optimizer, which then passes over the weights once instead of ten times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from featurebank.heads.layered.base import LayeredHead
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.stored import blocks, in_order
from featurebank.heads.memory import COPIES, check_bytes
from featurebank.heads.trained import TrainedHead
from featurebank.system.runtime import import_tensorflow
from featurebank.training.batches import Batches, OnHead
from featurebank.training.history import History
from featurebank.training.loop import train_at, train_programs
from featurebank.training.optimizers import Step, limited

_VALIDATION_ROWS = 64


def train_layered(
    heads: Sequence[LayeredHead], X: Any, y: np.ndarray, validation_data: tuple[Any, np.ndarray] | None = None, *,
    views: Sequence[Any] = (), on_trained: OnHead | None = None,
) -> list[str | None]:  # fmt: skip
    """Trains heads on the same maps, one after another.

    Args:
        heads: to be fitted in place.
        X: (n, h, w, c) features, or maps in a bank.
        y: (n,) labels.
        validation_data: for early stopping; None runs all epochs.
        views: further views of the images of X.
        on_trained: called as soon as a head stops.

    Returns:
        For each head None, or in one line why it failed.

    Raises:
        HeadError: a parameter is out of its range, the features are no maps or not finite, or there is one class.
    """
    for head in heads:
        head.check()
    data = MapData.of(X, y, validation_data, views)

    def train_program(positions: list[int], told: OnHead) -> None:
        train_at(positions, heads, lambda chosen: LayeredNetwork(chosen[0], data), told)

    return train_programs(heads, data, programs(heads), train_program, on_trained)


def programs(
    heads: Sequence[LayeredHead], shape: tuple[int, ...] = (), classes: int = 0, images: int = 0
) -> list[list[int]]:
    """Returns the position of each head by itself, whatever it is trained on."""
    return [[position] for position in range(len(heads))]


class LayeredNetwork:
    """A Keras model on its way.

    Args:
        head: says what the model is.
        data: what it is trained on.
    """

    def __init__(self, head: LayeredHead, data: MapData) -> None:
        self._tf = import_tensorflow()
        self._head, self._data = head, data
        self.images, self.views, self.validated = len(data.y), data.X.views, data.validation is not None
        self.model = head.build(data.X.shape[1:], len(data.classes))
        check_bytes(type(head).__name__, 4 * COPIES * self.model.count_params())
        self._parts, rule = _parts(self.model, head), head.rule()
        self._slots = [[self._tf.Variable(slot) for slot in rule.empty_slots(part.variable)] for part in self._parts]
        self._labels = np.tile(data.y, self.views)
        self._weight = head.class_weights(data.y, len(data.classes)).astype(np.float32)
        self._kept = self.model.get_weights()
        self._steps = 0
        self._step, self._judge = _step_program(self.model, head, self._parts, self._slots), _judge(self.model, head)

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch; see `Network`."""
        tf, total, right = self._tf, 0.0, 0.0
        # What fills up the last batch is left out: batch normalisation would count it.
        rows = [r[w > 0] for r, w in zip(batches.rows, batches.weights, strict=True)]
        for chosen, rate, x in zip(rows, rates[:, 0], blocks(self._data.X, rows), strict=True):
            labels = self._labels[chosen]
            self._steps += 1
            loss, hits = self._step(
                tf.constant(x), tf.constant(labels), tf.constant(self._weight[labels]), tf.constant(rate),
                tf.constant(float(self._steps)),
            )  # fmt: skip
            total += float(loss) * len(chosen)
            right += float(hits)
        return np.array([total / self.images]), np.array([right / self.images])

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation loss and accuracy; see `Network`."""
        assert self._data.validation is not None
        maps, labels = self._data.validation
        rows, found = in_order(maps, _VALIDATION_ROWS), np.zeros(2)
        for chosen, x in zip(rows, blocks(maps, rows), strict=True):
            found += [float(v) for v in self._judge(self._tf.constant(x), self._tf.constant(labels[chosen]))]
        return found[:1] / len(labels) + float(_penalty(self._head, self._parts)), found[1:] / len(labels)

    def keep(self, which: np.ndarray) -> None:
        """Remembers the weights; see `Network`."""
        if which[0]:
            self._kept = self.model.get_weights()

    def narrow(self, positions: Sequence[int]) -> None:
        """Does nothing: there is one head."""

    def hand_over(self, position: int, head: TrainedHead, history: History) -> bool:
        """Gives the head its weights; see `Network`."""
        if not all(np.isfinite(weight).all() for weight in self._kept):
            return False
        cast("LayeredHead", head).set_fitted(self._kept, self._data.X.shape[1:], self._data.classes, history)
        return True


@dataclass(frozen=True)
class _TrainedVariable:
    """A variable that is trained."""

    variable: Any
    rate: float
    """Its learning rate, as a share of the head's."""
    kernel: bool
    """Whether it has penalties and a largest norm."""
    start: Any | None
    """What it started from, where leaving that is penalised."""


def _parts(model: Any, head: LayeredHead) -> list[_TrainedVariable]:
    """Returns the variables that are trained, in Keras's order."""
    tf, found = import_tensorflow(), []
    for variable in model.trainable_variables:
        tail = not variable.path.split("/")[0].startswith("head_")
        rate = head.tail_learning_rate / head.learning_rate if tail and head.tail_learning_rate is not None else 1.0
        start = tf.constant(variable.numpy()) if head.l2_sp and tail else None
        found.append(_TrainedVariable(variable.value, float(rate), variable.name.endswith("kernel"), start))
    return found


def _step_program(
    model: Any, head: LayeredHead, parts: Sequence[_TrainedVariable], slots: Sequence[Any]
) -> Callable[..., Any]:
    """Returns the program of a step, which gives the loss before it and the number of images judged right."""
    tf, trained = import_tensorflow(), [part.variable for part in parts]
    change, number_ = _change_program(head, parts, slots), tf.TensorSpec((), tf.float32)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[*_batch(model), tf.TensorSpec((None,), tf.float32), number_, number_], autograph=False
    )
    def step(x: Any, labels: Any, weights: Any, rate: Any, number: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            losses, hits = _judged(model(x, training=True), labels, head)
            loss = tf.reduce_mean(losses * weights)
        told = loss + _penalty(head, parts)
        change(tape.gradient(loss, trained), rate, number)
        return told, tf.reduce_sum(hits)

    return step  # type: ignore[no-any-return]


def _judged(logits: Any, labels: Any, head: LayeredHead) -> tuple[Any, Any]:
    """Returns the cross-entropy, smoothed, of logits (b, classes), and which are right: (b,) float32 each."""
    tf, smoothing, classes = import_tensorflow(), float(head.label_smoothing), logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    return losses, tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32)


def _penalty(head: LayeredHead, parts: Sequence[_TrainedVariable]) -> Any:
    """Returns what is added to the loss for the weights; its gradient is added by `_change_program`."""
    tf = import_tensorflow()
    total = tf.constant(0.0)
    for part in parts:
        if part.kernel and head.l1:
            total += head.l1 * tf.reduce_sum(tf.abs(part.variable))
        if part.kernel and head.l2:
            total += head.l2 * tf.reduce_sum(tf.square(part.variable))
        if part.start is not None:
            total += head.l2_sp * tf.reduce_sum(tf.square(part.variable - part.start))
    return total


def _change_program(head: LayeredHead, parts: Sequence[_TrainedVariable], slots: Sequence[Any]) -> Callable[..., None]:
    """Returns the program of the optimizer's step; it changes variables in place."""
    tf, rule = import_tensorflow(), head.rule()
    momentum, active = tf.constant(float(head.momentum)), tf.constant(1.0)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def change(gradients: list[Any], rate: Any, number: Any) -> None:
        for part, slot, gradient in zip(parts, slots, gradients, strict=True):
            p, own = tf.convert_to_tensor(part.variable), rate * part.rate
            if part.kernel:
                gradient += head.l1 * tf.sign(p) + 2 * head.l2 * p  # noqa: PLW2901 - the penalties' part of it
            if part.start is not None:
                gradient += 2 * head.l2_sp * (p - part.start)  # noqa: PLW2901
            p -= p * head.decayed() * own
            at = Step(own, momentum, number, active)
            p, new = rule.update(p, tuple(map(tf.convert_to_tensor, slot)), gradient, at)
            if part.kernel and head.max_norm is not None:
                p = limited(p, list(range(p.shape.rank - 1)), head.max_norm)
            part.variable.assign(p)
            for old, value in zip(slot, new, strict=True):
                old.assign(value)

    return change  # type: ignore[no-any-return]


def _batch(model: Any) -> list[Any]:
    """Returns what maps and labels look like: batches of any size, as the last one of an epoch is shorter."""
    tf = import_tensorflow()
    return [tf.TensorSpec((None, *model.input.shape[1:]), tf.float32), tf.TensorSpec((None,), tf.int32)]


def _judge(model: Any, head: LayeredHead) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Returns the program that gives the summed cross-entropy and the number of right answers of a batch."""
    tf = import_tensorflow()

    @tf.function(input_signature=_batch(model), autograph=False)  # type: ignore[untyped-decorator]
    def judge(x: Any, labels: Any) -> tuple[Any, Any]:
        losses, hits = _judged(model(x, training=False), labels, head)
        return tf.reduce_sum(losses), tf.reduce_sum(hits)

    return judge  # type: ignore[no-any-return]
