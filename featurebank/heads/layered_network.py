"""One layered head as a `Network`: its Keras model, and a training step of its own without `fit`'s overhead.

The step is TensorFlow's for the layers, whose convolutions are faster than XLA's on a processor, and XLA's for the
optimizer, which then passes over the weights once instead of ten times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from featurebank.heads.layered import LayeredHead
from featurebank.heads.map_data import MapData
from featurebank.heads.maps import blocks, in_order
from featurebank.heads.neural import History, TrainedHead
from featurebank.heads.trainer import Batches, OnHead, train_at, train_programs
from featurebank.heads.updates import Step, limited
from featurebank.runtime import import_tensorflow

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

    return train_programs(heads, data, [[position] for position in range(len(heads))], train_program, on_trained)


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
        self._trained = [variable.value for variable in self.model.trainable_variables]
        rule = head.rule()
        self._slots = [[self._tf.Variable(slot) for slot in rule.empty_slots(v)] for v in self._trained]
        self._labels = np.tile(data.y, self.views)
        self._weight = head.class_weights(data.y, len(data.classes)).astype(np.float32)
        self._kept = self.model.get_weights()
        self._steps = 0
        self._step, self._judge = _step_program(self.model, head, self._trained, self._slots), _judge(self.model)

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Trains for one epoch; see `Network`."""
        tf, total = self._tf, 0.0
        # What fills up the last batch is left out: batch normalisation would count it.
        rows = [r[w > 0] for r, w in zip(batches.rows, batches.weights, strict=True)]
        for chosen, rate, x in zip(rows, rates[:, 0], blocks(self._data.X, rows), strict=True):
            labels = self._labels[chosen]
            self._steps += 1
            loss = self._step(
                tf.constant(x), tf.constant(labels), tf.constant(self._weight[labels]), tf.constant(rate),
                tf.constant(float(self._steps)),
            )  # fmt: skip
            total += float(loss) * len(chosen)
        return np.array([total / self.images])

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation loss and accuracy; see `Network`."""
        assert self._data.validation is not None
        maps, labels = self._data.validation
        rows, found = in_order(maps, _VALIDATION_ROWS), np.zeros(2)
        for chosen, x in zip(rows, blocks(maps, rows), strict=True):
            found += [float(v) for v in self._judge(self._tf.constant(x), self._tf.constant(labels[chosen]))]
        return (found[:1] / len(labels)), (found[1:] / len(labels))

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


def _step_program(model: Any, head: LayeredHead, trained: list[Any], slots: list[list[Any]]) -> Callable[..., Any]:
    tf = import_tensorflow()
    change = _change_program(model, head, trained, slots)
    number_ = tf.TensorSpec((), tf.float32)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[*_batch(model), tf.TensorSpec((None,), tf.float32), number_, number_], autograph=False
    )
    def step(x: Any, labels: Any, weights: Any, rate: Any, number: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            logits = model(x, training=True)
            smoothing, classes = float(head.label_smoothing), logits.shape[-1]
            targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses * weights)
        change(tape.gradient(loss, trained), rate, number)
        return loss

    return step  # type: ignore[no-any-return]


def _change_program(model: Any, head: LayeredHead, trained: list[Any], slots: list[list[Any]]) -> Callable[..., None]:
    """Returns the program of the optimizer's step; it changes variables in place."""
    tf, rule = import_tensorflow(), head.rule()
    parts = [_part(head, variable) for variable in model.trainable_variables]
    starts = [
        tf.constant(variable.numpy()) if head.l2_sp and part["tail"] else None
        for variable, part in zip(trained, parts, strict=True)
    ]
    momentum, active = tf.constant(float(head.momentum)), tf.constant(1.0)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def change(gradients: list[Any], rate: Any, number: Any) -> None:
        for variable, slot, gradient, part, start in zip(trained, slots, gradients, parts, starts, strict=True):
            p, own = tf.convert_to_tensor(variable), rate * part["rate"]
            if part["kernel"]:
                gradient += head.l1 * tf.sign(p) + 2 * head.l2 * p  # noqa: PLW2901 - the penalties' part of it
            if start is not None:
                gradient += 2 * head.l2_sp * (p - start)  # noqa: PLW2901
            p -= p * head.decayed() * own
            at = Step(own, momentum, number, active)
            p, new = rule.update(p, tuple(map(tf.convert_to_tensor, slot)), gradient, at)
            if part["kernel"] and head.max_norm is not None:
                p = limited(p, list(range(p.shape.rank - 1)), head.max_norm)
            variable.assign(p)
            for old, value in zip(slot, new, strict=True):
                old.assign(value)

    return change  # type: ignore[no-any-return]


def _part(head: LayeredHead, variable: Any) -> dict[str, Any]:
    """Returns what a variable is: of the tail or of the classifier, with which share of the learning rate."""
    tail = not variable.path.split("/")[0].startswith("head_")
    rate = head.tail_learning_rate / head.learning_rate if tail and head.tail_learning_rate is not None else 1.0
    return {"tail": tail, "rate": float(rate), "kernel": variable.name.endswith("kernel")}


def _batch(model: Any) -> list[Any]:
    """Returns what maps and labels look like: batches of any size, as the last one of an epoch is shorter."""
    tf = import_tensorflow()
    return [tf.TensorSpec((None, *model.input.shape[1:]), tf.float32), tf.TensorSpec((None,), tf.int32)]


def _judge(model: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    tf = import_tensorflow()

    @tf.function(input_signature=_batch(model), autograph=False)  # type: ignore[untyped-decorator]
    def judge(x: Any, labels: Any) -> tuple[Any, Any]:
        logits = model(x, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32))

    return judge  # type: ignore[no-any-return]
