"""One layered head as a `Network`: its Keras model, trained by `KerasStep` without the overhead of Keras's `fit`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from featurebank.backbone.keras_networks.early_selection import with_early_selection
from featurebank.heads.layered.base import LayeredHead
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.stored import MAPS_AND_TOKENS, blocks, check_rank, in_order
from featurebank.heads.memory import COPIES, check_bytes
from featurebank.heads.trained import TrainedHead, Trainer
from featurebank.system.runtime import import_tensorflow
from featurebank.training.batches import Batches, shuffled
from featurebank.training.history import History
from featurebank.training.monitors import HeldOutPredictions, in_places

_VALIDATION_ROWS = 64


class LayeredNetwork:
    """The Keras model of one head while it is trained.

    Args:
        heads: one head, which defines the model.
        data: maps and labels to train on.
    """

    def __init__(self, heads: Sequence[LayeredHead], data: MapData) -> None:
        import_tensorflow()
        from featurebank.training.programs.keras_step import (
            KerasStep,
            evaluation,
            prediction,
        )  # imports TensorFlow at its top

        self._data, head = data, heads[0]
        check_rank(data.X.shape, head.ranks)
        self.images, self.views, self.validated = len(data.y), data.X.views, data.validation is not None
        self.model = head.build(data.X.shape[1:], len(data.classes))
        check_bytes(type(head).__name__, 4 * COPIES * self.model.count_params())
        self._labels = np.tile(data.y, self.views)
        self._best = self.model.get_weights()
        self._steps = 0
        model = with_early_selection(self.model)  # of the same layers, so that training it trains the head's own
        self._step = KerasStep(
            model, _trained_variables(self.model, head), head, _class_weights(head, data),
            l2_sp=head.l2_sp,
        )  # fmt: skip
        self._evaluate = evaluation(model, float(head.label_smoothing))
        self._probabilities = prediction(model)

    def parts(self, size: int, rng: np.random.Generator, epoch: int) -> Iterator[Batches]:
        """Yields the batches of an epoch as one part; see `Network`."""
        yield shuffled(self.images, self.views, size, rng)

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch; see `Network`."""
        total, right = 0.0, 0.0
        # The padding of the last batch is left out: batch normalisation would count it.
        rows = [r[w > 0] for r, w in zip(batches.rows, batches.weights, strict=True)]
        for batch, rate, x in zip(rows, rates[:, 0], blocks(self._data.X, rows), strict=True):
            self._steps += 1
            loss, hits = self._step.step(x, self._labels[batch], rate, self._steps, self._sample_weights(batch))
            total += loss * len(batch)
            right += hits
        return np.array([total / self.images]), np.array([right / self.images])

    def _sample_weights(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self._data.weights is None else self._data.weights[rows % self.images]

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation loss and accuracy; see `Network`."""
        assert self._data.validation is not None
        maps, labels = self._data.validation
        rows, totals = in_order(maps, _VALIDATION_ROWS), np.zeros(2)
        for batch, x in zip(rows, blocks(maps, rows), strict=True):
            totals += self._evaluate(x, labels[batch])
        return totals[:1] / len(labels) + float(self._step.penalty()), totals[1:] / len(labels)

    def predict(self) -> HeldOutPredictions:
        """Returns the probabilities of the validation images; see `Network`."""
        assert self._data.validation is not None
        maps, labels = self._data.validation
        rows = in_order(maps, _VALIDATION_ROWS)
        parts = [self._probabilities(x)[None] for x in blocks(maps, rows)]
        return in_places(parts, rows, labels, self._data.classes)

    def keep(self, which: np.ndarray) -> None:
        """Stores the current weights as the best; see `Network`."""
        if which[0]:
            self._best = self.model.get_weights()

    def narrow(self, positions: Sequence[int]) -> None:
        """Does nothing: there is one head."""

    def hand_over(self, position: int, head: TrainedHead, history: History) -> bool:
        """Sets the weights of the fitted head; see `Network`."""
        if not all(np.isfinite(weight).all() for weight in self._best):
            return False
        fitted = cast("LayeredHead", head)
        fitted.set_fitted(self._best, self._data.X.shape[1:], self._data.classes, history)
        self.model.set_weights(self._best)
        fitted.set_network(self.model)
        return True


def _class_weights(head: LayeredHead, data: MapData) -> np.ndarray:
    return head.class_weights(data.y, len(data.classes), data.classes.tolist(), data.weights)


def _trained_variables(model: Any, head: LayeredHead) -> list[Any]:
    """Returns the variables that are trained, in Keras's order."""
    from featurebank.training.programs.keras_step import TrainedVariable  # imports TensorFlow at its top

    tf, variables = import_tensorflow(), []
    for variable in model.trainable_variables:
        tail = not variable.path.split("/")[0].startswith("head_")
        rate = head.tail_learning_rate / head.learning_rate if tail and head.tail_learning_rate is not None else 1.0
        start = tf.constant(variable.numpy()) if head.l2_sp and tail else None
        variables.append(TrainedVariable(variable.value, float(rate), variable.name.endswith("kernel"), start))
    return variables


def _one_by_one(heads: Sequence[LayeredHead], shape: tuple[int, ...], classes: int, images: int) -> list[list[int]]:
    """Returns the position of each head by itself, whatever it is trained on."""
    return [[position] for position in range(len(heads))]


train_layered = Trainer(partial(MapData.of, ranks=MAPS_AND_TOKENS), _one_by_one, LayeredNetwork)
"""Trains heads on maps (n, h, w, c) or tokens (n, T, d), in memory or in a bank, one after another."""
