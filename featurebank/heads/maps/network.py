"""K heads on maps of one shape as a `Network`, and training many of them, program by program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from featurebank.heads.joint_network import JointNetwork, programs
from featurebank.heads.maps.base import MapHead
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.on_maps import ROWS
from featurebank.heads.maps.stored import blocks, in_order
from featurebank.heads.trained import TrainedHead, Trainer
from featurebank.training.batches import Batches
from featurebank.training.history import History
from featurebank.training.monitors import HeldOutPredictions, in_places
from featurebank.training.weights import head_axis


class MapNetwork(JointNetwork):
    """The variables of K heads on maps while they are trained.

    Args:
        heads: heads of one program; see `program_key`.
        data: maps and labels to train on.
    """

    def __init__(self, heads: Sequence[MapHead], data: MapData) -> None:
        super().__init__(heads, data, data.shape, variables=True)
        from featurebank.training.programs import losses, maps  # import TensorFlow at their top

        self._program, self._losses = maps, losses
        self.images, self.views, self.validated = len(data.y), data.X.views, data.validation is not None
        self._train, self._val = data.maps(standardize=bool(self._first.standardize))
        self._best: list[dict[str, np.ndarray]] = [{} for _ in heads]
        self._labels, self._steps = np.tile(data.y, self.views), 0

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch; see `Network`."""
        tf, total, right = self._tf, np.zeros(len(active)), np.zeros(len(active))
        step = self._program.step_program(
            self._shape, (*self._sizes(batches.rows.shape[1]), self._data.weights is None)
        )
        mask = tf.constant(active, tf.float32)
        for rows, weights, rate, x in zip(
            batches.rows, batches.weights, rates, blocks(self._train, list(batches.rows)), strict=True
        ):
            losses, hits = step(
                tf.constant(x), tf.constant(self._labels[rows]), tf.constant(weights), self._sample_weights(rows),
                tf.constant(rate), self._params, self._slots, self._moving, self._options, mask,
                tf.constant(float(self._steps)),
            )  # fmt: skip
            self._steps += 1
            total += losses.numpy() * weights.sum()
            right += hits.numpy()
        return total / batches.weights.sum(), right / batches.weights.sum()

    def _sample_weights(self, rows: np.ndarray) -> Any:
        """Returns the sample weights of a batch (b,); None if all are 1."""
        weights = self._data.weights
        return None if weights is None else self._tf.constant(weights[rows % self.images])

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation losses and accuracies; see `Network`."""
        assert self._val is not None
        assert self._data.validation is not None
        tf, labels, totals = self._tf, self._data.validation[1], np.zeros((2, len(self._best)))
        size = min(ROWS, len(labels))
        evaluate = self._program.evaluation_program(self._shape, self._sizes(size))
        rows = in_order(self._val, size)
        for batch, x in zip(rows, blocks(self._val, rows), strict=True):
            short = size - len(batch)  # filled up, so that one program serves all
            padded = np.pad(x, ((0, short), (0, 0), (0, 0), (0, 0))), np.pad(labels[batch], (0, short))
            weights = (np.arange(size) < len(batch)).astype(np.float32)
            results = evaluate(*map(tf.constant, (*padded, weights)), self._params, self._moving, self._options)
            totals += [value.numpy() for value in results]
        return totals[0] / len(labels) + self._penalties(), totals[1] / len(labels)

    def predict(self) -> HeldOutPredictions:
        """Returns the probabilities of the validation images; see `Network`."""
        assert self._val is not None
        assert self._data.validation is not None
        labels = self._data.validation[1]
        size = min(ROWS, len(labels))
        predict, parts = self._program.prediction_program(self._shape, self._sizes(size)), []
        rows = in_order(self._val, size)
        for batch, x in zip(rows, blocks(self._val, rows), strict=True):
            filled = np.pad(x, ((0, size - len(batch)), (0, 0), (0, 0), (0, 0)))
            parts.append(predict(self._tf.constant(filled), self._params, self._moving).numpy()[:, : len(batch)])
        return in_places(parts, rows, labels, self._data.classes)

    def _penalties(self) -> np.ndarray:
        """Returns what is added to the loss of each head for its kernels (K,)."""
        if not self._shape.penalized:
            return np.zeros(len(self._best))
        params = {name: self._tf.convert_to_tensor(value) for name, value in self._params.items()}
        return np.asarray(self._losses.penalties(params, self._options).numpy())

    def keep(self, which: np.ndarray) -> None:
        """Remembers the weights of some heads; see `Network`."""
        for name, variable in {**self._params, **self._moving}.items():
            values = variable.numpy()
            for k in np.flatnonzero(which).tolist():
                self._best[k][name] = np.array(values.take(k, axis=head_axis(name)))

    def narrow(self, positions: Sequence[int]) -> None:
        """Drops all heads but those at the given positions; see `Network`."""
        super().narrow(positions)
        self._best = [self._best[k] for k in positions]

    def hand_over(self, position: int, head: TrainedHead, history: History) -> bool:
        """Gives a head its weights; see `Network`."""
        tensors = self._best[position]
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            return False
        if self._first.standardize:
            mean, scale = self._data.statistics()
            tensors = {**tensors, "channel_mean": mean, "channel_scale": scale}
        cast("MapHead", head).set_fitted(tensors, self._data.shape, self._data.classes, history)
        self._best[position] = {}
        return True

    def _sizes(self, batch: int) -> tuple[Any, ...]:
        return (batch, *self._data.shape, *(tuple(v.shape) for v in self._params.values()))


train_maps_together = Trainer(MapData.of, programs, MapNetwork)
"""Trains heads on maps (n, h, w, c), or on maps in a bank."""
