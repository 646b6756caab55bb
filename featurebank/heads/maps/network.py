"""K heads on maps of one shape as a `Network`, and training many of them, program by program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from featurebank.heads.maps.base import MapHead
from featurebank.heads.maps.data import MapData
from featurebank.heads.maps.on_maps import ROWS
from featurebank.heads.maps.stored import blocks, in_order
from featurebank.heads.neural.network import option_arrays
from featurebank.heads.trained import TrainedHead
from featurebank.system.runtime import import_tensorflow, ram_limit
from featurebank.training.batches import Batches, OnHead
from featurebank.training.history import History
from featurebank.training.loop import train_at, train_programs

_MEMORY_BYTES = 2500 << 20
"""Parameters, slots, gradients, kept weights and outputs of the heads in one program stay below this, and below half of
`--ram`; more heads are trained in turns."""


class MapNetwork:
    """The tensors of K heads on their way.

    Args:
        heads: of one program: see `program_key`.
        data: what they are trained on.
    """

    def __init__(self, heads: Sequence[MapHead], data: MapData) -> None:
        self._tf = import_tensorflow()
        from featurebank.training.programs import losses, maps, tensors  # import TensorFlow at their top

        self._program, self._data, self._first = maps, data, heads[0]
        self._axis, self._losses = tensors.head_axis, losses
        self.images, self.views, self.validated = len(data.y), data.X.views, data.validation is not None
        self._shape = _shape(maps, heads)
        self._train, self._val = data.maps(standardize=bool(self._first.standardize))
        params, moving = _initial(heads, data)
        self._params, self._moving = self._variables(params), self._variables(moving)
        self._slots = {
            name: tuple(self._tf.Variable(slot) for slot in self._shape.rule.empty_slots(p))
            for name, p in self._params.items()
        }
        self._kept: list[dict[str, np.ndarray]] = [{} for _ in heads]
        self._options = {name: self._tf.constant(value) for name, value in option_arrays(heads, data).items()}
        self._labels, self._steps = np.tile(data.y, self.views), 0

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch; see `Network`."""
        tf, total, right = self._tf, np.zeros(len(active)), np.zeros(len(active))
        step = self._program.step_program(self._shape, self._sizes(batches.rows.shape[1]))
        mask = tf.constant(active, tf.float32)
        for rows, weights, rate, x in zip(
            batches.rows, batches.weights, rates, blocks(self._train, list(batches.rows)), strict=True
        ):
            losses, hits = step(
                tf.constant(x), tf.constant(self._labels[rows]), tf.constant(weights), tf.constant(rate), self._params,
                self._slots, self._moving, self._options, mask, tf.constant(float(self._steps)),
            )  # fmt: skip
            self._steps += 1
            total += losses.numpy() * weights.sum()
            right += hits.numpy()
        return total / batches.weights.sum(), right / batches.weights.sum()

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation losses and accuracies; see `Network`."""
        assert self._val is not None
        assert self._data.validation is not None
        tf, labels, found = self._tf, self._data.validation[1], np.zeros((2, len(self._kept)))
        size = min(ROWS, len(labels))
        evaluate = self._program.evaluation_program(self._shape, self._sizes(size))
        rows = in_order(self._val, size)
        for batch, x in zip(rows, blocks(self._val, rows), strict=True):
            short = size - len(batch)  # filled up, so that one program serves all
            padded = np.pad(x, ((0, short), (0, 0), (0, 0), (0, 0))), np.pad(labels[batch], (0, short))
            weights = (np.arange(size) < len(batch)).astype(np.float32)
            judged = evaluate(*map(tf.constant, (*padded, weights)), self._params, self._moving, self._options)
            found += [value.numpy() for value in judged]
        return found[0] / len(labels) + self._penalties(), found[1] / len(labels)

    def _penalties(self) -> np.ndarray:
        """Returns what is added to the loss of each head for its kernels (K,)."""
        if not self._shape.penalized:
            return np.zeros(len(self._kept))
        params = {name: self._tf.convert_to_tensor(value) for name, value in self._params.items()}
        return np.asarray(self._losses.penalties(params, self._options).numpy())

    def keep(self, which: np.ndarray) -> None:
        """Remembers the weights of some heads; see `Network`."""
        for name, variable in {**self._params, **self._moving}.items():
            values = variable.numpy()
            for k in np.flatnonzero(which).tolist():
                self._kept[k][name] = np.array(values.take(k, axis=self._axis(name)))

    def narrow(self, positions: Sequence[int]) -> None:
        """Goes on with some heads; see `Network`."""

        def chosen(name: str, value: Any) -> Any:
            return self._tf.Variable(self._tf.gather(value, positions, axis=self._axis(name)))

        self._params = {name: chosen(name, value) for name, value in self._params.items()}
        self._moving = {name: chosen(name, value) for name, value in self._moving.items()}
        self._slots = {name: tuple(chosen(name, slot) for slot in slots) for name, slots in self._slots.items()}
        self._options = {name: self._tf.gather(value, positions) for name, value in self._options.items()}
        self._kept = [self._kept[k] for k in positions]

    def hand_over(self, position: int, head: TrainedHead, history: History) -> bool:
        """Gives a head its weights; see `Network`."""
        tensors = self._kept[position]
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            return False
        if self._first.standardize:
            mean, scale = self._data.statistics()
            tensors = {**tensors, "channel_mean": mean, "channel_scale": scale}
        cast("MapHead", head).set_fitted(tensors, self._data.X.shape[1:], self._data.classes, history)
        self._kept[position] = {}
        return True

    def _variables(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        return {name: self._tf.Variable(array) for name, array in arrays.items()}

    def _sizes(self, batch: int) -> tuple[Any, ...]:
        return (batch, *self._data.X.shape[1:], *(tuple(v.shape) for v in self._params.values()))


def train_maps_together(
    heads: Sequence[MapHead],
    X: Any,
    y: np.ndarray,
    validation_data: tuple[Any, np.ndarray] | None = None,
    *,
    views: Sequence[Any] = (),
    on_trained: OnHead | None = None,
) -> list[str | None]:
    """Trains heads on the same maps, each exactly as it would be trained alone.

    Args:
        heads: to be fitted in place.
        X: (n, h, w, c) features, or maps in a bank.
        y: (n,) labels.
        validation_data: for early stopping; None runs all epochs.
        views: further views of the images of X, each like X: every epoch takes one of all views of each image.
        on_trained: called as soon as a head stops.

    Returns:
        For each head None, or in one line why it failed (that head is not fitted; the others are).

    Raises:
        HeadError: a parameter is out of its range, features are no maps or not finite, or there is only one class.
    """
    for head in heads:
        head.check()
    data = MapData.of(X, y, validation_data, views)

    def train_program(positions: list[int], told: OnHead) -> None:
        train_at(positions, heads, lambda chosen: MapNetwork(chosen, data), told)

    found = programs(heads, data.X.shape[1:], len(data.classes), len(data.y))
    return train_programs(heads, data, found, train_program, on_trained)


def program_key(head: MapHead) -> tuple[Any, ...]:
    """Returns what heads of one program have in common.

    Beside the shape of layers and rules: the batch size and the seed, which decide the order of the images.
    """
    hidden = head.layer_sizes()
    return (
        head.stem_key(), hidden, head.activation, head.normalization()[0] if hidden else "", head.rule(),
        head.batch_size, head.standardize, head.random_state, head.max_norm is None,
    )  # fmt: skip


def programs(heads: Sequence[MapHead], shape: tuple[int, ...], classes: int, images: int) -> list[list[int]]:
    """Returns the positions of the heads of each program, as even in number as the memory allows.

    Args:
        heads: to be trained.
        shape: of a map: (h, w, c).
        classes: how many there are.
        images: how many are trained on.

    Raises:
        HeadError: the maps are too small for a head.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, head in enumerate(heads):
        groups.setdefault(program_key(head), []).append(position)
    found: list[list[int]] = []
    for positions in groups.values():
        size = heads[positions[0]].working_bytes(images, shape, classes)
        most = max(1, min(_MEMORY_BYTES, ram_limit() // 2) // size)
        parts = np.array_split(positions, -(-len(positions) // most))
        found += [part.tolist() for part in parts]
    return found


def _shape(program: Any, heads: Sequence[MapHead]) -> Any:
    first = heads[0]
    hidden = first.layer_sizes()
    return program.MapShape(
        stem=first.stem_key(),
        layers=len(hidden) + 1,
        activation=first.activation,
        normalization=first.normalization()[0] if hidden else "",
        rule=first.rule(),
        dropout=any(any(head.dropout_rates()) for head in heads),
        max_norm=first.max_norm is not None,
        penalized=any(head.l1 or head.l2 for head in heads),
    )


def _initial(heads: Sequence[MapHead], data: MapData) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the first parameters and moving statistics of the heads as the programs want them."""
    starts = [first_tensors(head, data.X.shape[1:], len(data.classes)) for head in heads]
    params = {name: np.stack([s[name] for s in starts], axis=int(name == "kernel0")) for name in starts[0]}
    moving: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if name.startswith("gamma_"):
            moving[name.replace("gamma", "mean")] = np.zeros(value.shape, np.float32)
            moving[name.replace("gamma", "variance")] = np.ones(value.shape, np.float32)
    return params, moving


def first_tensors(head: MapHead, shape: tuple[int, ...], classes: int) -> dict[str, np.ndarray]:
    """Returns what a head begins with, for maps of the shape (h, w, c)."""
    rng = np.random.default_rng([head.random_state, 1])
    return {name: head.stem_start(name, size, rng) for name, size in head.shapes(shape, classes).items()}
