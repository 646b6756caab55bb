"""Trains many neural heads together: who can share a program, in what order the images come, when each head stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from featurebank.heads.features import checked_features, known_rows
from featurebank.heads.neural import Dense, History, NeuralHead
from featurebank.runtime import import_tensorflow

Validation = tuple[np.ndarray, np.ndarray]

_ROUNDING = 4 * float(np.finfo(np.float32).eps)

_MEMORY_BYTES = 1 << 30
"""Parameters, slots and kept weights of the heads in one program stay below this; more heads are trained in turns."""


def train_together(
    heads: Sequence[NeuralHead],
    X: np.ndarray,
    y: np.ndarray,
    validation_data: Validation | None = None,
    *,
    on_trained: Callable[[list[int], list[str | None]], None] | None = None,
) -> list[str | None]:
    """Trains heads on the same features, each exactly as it would be trained alone.

    Heads with the same layers, activation, optimizer, batch size, standardisation and seed are trained by one
    program. The seed counts because it decides the order of the images, which the heads of a program share.

    Args:
        heads: to be fitted in place.
        X: (n, ...) float32 features; maps are flattened.
        y: (n,) labels.
        validation_data: for early stopping; None runs all epochs.
        on_trained: called after each program with the positions of its heads and their failures.

    Returns:
        For each head None, or in one line why it failed (that head is not fitted; the others are).

    Raises:
        HeadError: a parameter is out of its range, features are not finite, or there is only one class.
    """
    for head in heads:
        head.check()
    data = _Data.of(X, y, validation_data)
    failures: list[str | None] = [None] * len(heads)
    for positions in _programs(heads, data.features, len(data.classes)):
        found = _Training([heads[i] for i in positions], data).run()
        for position, failure in zip(positions, found, strict=True):
            failures[position] = failure
        if on_trained:
            on_trained(positions, found)
    return failures


def program_key(head: NeuralHead) -> tuple[Any, ...]:
    """Returns what heads of one program have in common."""
    drops_inputs = bool(head.dropout) and not head.layer_sizes()
    activation = head.hidden_activation() if head.layer_sizes() else ""
    return (
        head.layer_sizes(), activation, head.optimizer, head.batch_size, head.standardize, head.random_state,
        drops_inputs,
    )  # fmt: skip


def _programs(heads: Sequence[NeuralHead], features: int, classes: int) -> Iterator[list[int]]:
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, head in enumerate(heads):
        groups.setdefault(program_key(head), []).append(position)
    for positions in groups.values():
        sizes = (features, *heads[positions[0]].layer_sizes(), classes)
        weights = sum((a + 1) * b for a, b in pairwise(sizes))
        most = max(1, _MEMORY_BYTES // (weights * 4 * 5))  # parameters, two slots, kept ones, gradients
        for start in range(0, len(positions), most):
            yield positions[start : start + most]


@dataclass
class _Data:
    """Features and labels as the programs take them."""

    X: np.ndarray
    y: np.ndarray
    """(n,) int32 positions in `classes`."""
    classes: np.ndarray
    validation: Validation | None
    _tensors: dict[bool, tuple[Any, Any | None]] = field(default_factory=dict)
    _statistics: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray, validation: Validation | None) -> _Data:
        X = checked_features(X, y)
        classes, positions = np.unique(y, return_inverse=True)
        if known := known_rows(classes, *validation, X.shape[1]) if validation is not None else None:
            known = known[0], known[1].astype(np.int32)
        return cls(X, positions.astype(np.int32), classes, known)

    @property
    def features(self) -> int:
        return int(self.X.shape[1])

    def statistics(self, *, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and scale of each feature, float64 (d,)."""
        if not standardize:
            return np.zeros(self.features), np.ones(self.features)
        if self._statistics is None:
            mean, scale = self.X.mean(axis=0, dtype=np.float64), self.X.std(axis=0, dtype=np.float64)
            # A feature that varies by no more than float32 resolves at its mean is a constant: blown up to variance 1,
            # its rounding would be all that a head sees of it.
            resolved = scale > _ROUNDING * np.abs(mean)
            self._statistics = mean, np.where(resolved, scale, 1.0)
        return self._statistics

    def tensors(self, *, standardize: bool) -> tuple[Any, Any | None]:
        """Returns the training and validation features as tensors, standardised once for all programs."""
        if standardize not in self._tensors:
            tf = import_tensorflow()
            mean, scale = (v.astype(np.float32) for v in self.statistics(standardize=standardize))
            train = tf.constant((self.X - mean) / scale if standardize else self.X)
            val = self.validation
            self._tensors[standardize] = (
                train, None if val is None else tf.constant((val[0] - mean) / scale if standardize else val[0])
            )  # fmt: skip
        return self._tensors[standardize]


class _Training:
    """One program's heads on their way."""

    def __init__(self, heads: Sequence[NeuralHead], data: _Data) -> None:
        tf = import_tensorflow()
        from featurebank.heads import program  # is made of TensorFlow

        self._tf, self._program = tf, program
        self._heads, self._data, self._first = heads, data, heads[0]
        self._rng = np.random.default_rng(self._first.random_state)
        self._params = [
            tf.constant(p) for p in _initial(heads, (data.features, *self._first.layer_sizes(), len(data.classes)))
        ]
        self._kept = self._params
        self._histories = [History() for _ in heads]
        self._best = np.full(len(heads), np.inf)
        self._lowest, self._fell = self._best.copy(), np.zeros(len(heads), int)  # as Keras counts for its patience
        self._shape = program.Shape(
            self._first.hidden_activation(), self._first.optimizer, any(head.dropout for head in heads)
        )

    def run(self) -> list[str | None]:
        """Trains until every head has stopped; returns each one's failure or None."""
        tf, first = self._tf, self._first
        X, X_val = self._data.tensors(standardize=first.standardize)
        y = tf.constant(self._data.y)
        y_val = None if self._data.validation is None else tf.constant(self._data.validation[1])
        epoch = self._program.epoch_program(self._shape)
        slots = self._program.empty_slots(first.optimizer, self._params)
        options, steps = self._options(), tf.constant(0.0)
        active = np.ones(len(self._heads), bool)
        for number in range(1, max(head.epochs for head in self._heads) + 1):
            active &= np.array([head.epochs >= number for head in self._heads])
            if not active.any():
                break
            rows, weights = self._batches()
            mask = tf.constant(active, tf.float32)
            self._params, slots, steps, losses = epoch(X, y, rows, weights, self._params, slots, options, mask, steps)
            self._record(number, losses.numpy(), active)
            active = self._judge(number, X_val, y_val, active)
        kept = [p.numpy() for p in self._kept]
        return [self._hand_over(k, kept) for k in range(len(self._heads))]

    def _options(self) -> dict[str, Any]:
        names = ("learning_rate", "momentum", "l2", "dropout", "label_smoothing")
        values = {name: [getattr(head, name) for head in self._heads] for name in names}
        options = {name: self._tf.constant(found, self._tf.float32) for name, found in values.items()}
        seeds = [head.random_state & 0x7FFFFFFF for head in self._heads]
        return {**options, "seed": self._tf.constant(seeds, self._tf.int32)}

    def _batches(self) -> tuple[Any, Any]:
        """Returns the rows (steps, b) of an epoch's batches in a new order, and their weights: 0 for padding."""
        count = len(self._data.y)
        size = min(self._first.batch_size, count)
        steps = -(-count // size)
        rows = np.zeros(steps * size, np.int32)
        rows[:count] = self._rng.permutation(count)
        weights = (np.arange(steps * size) < count).astype(np.float32)
        return self._tf.constant(rows.reshape(steps, size)), self._tf.constant(weights.reshape(steps, size))

    def _record(self, number: int, losses: np.ndarray, active: np.ndarray) -> None:
        for k in np.flatnonzero(active).tolist():
            self._histories[k].loss.append(float(losses[k]))
            if self._data.validation is None and np.isfinite(losses[k]):
                self._histories[k].best_epoch = number

    def _judge(self, number: int, X_val: Any, y_val: Any, active: np.ndarray) -> np.ndarray:
        """Keeps the weights of the heads that got better; returns which heads go on."""
        going_on = active & np.array([np.isfinite(h.loss[-1]) for h in self._histories])
        if X_val is None:
            self._kept = self._params
            return np.asarray(going_on)
        evaluate = self._program.evaluation_program(self._shape.activation)
        losses, accuracies = (v.numpy() for v in evaluate(X_val, y_val, self._params))
        better = active & (losses < self._best)
        self._best = np.where(better, losses, self._best)
        self._kept = self._program.keep_better(self._kept, self._params, self._tf.constant(better))
        for k in np.flatnonzero(active).tolist():
            history = self._histories[k]
            history.val_loss.append(float(losses[k]))
            history.val_accuracy.append(float(accuracies[k]))
            history.best_epoch = number if better[k] else history.best_epoch
            if losses[k] < self._lowest[k] - self._heads[k].min_delta:
                self._lowest[k], self._fell[k] = losses[k], number
            going_on[k] &= number - self._fell[k] < self._heads[k].patience
        return np.asarray(going_on)

    def _hand_over(self, k: int, kept: list[np.ndarray]) -> str | None:
        """Gives head k its weights; returns why not, if it has none."""
        history, head = self._histories[k], self._heads[k]
        arrays = [p[:, k] if i == 0 else p[k] for i, p in enumerate(kept)]
        layers = [Dense(arrays[i], arrays[i + 1]) for i in range(0, len(arrays), 2)]
        layers[0] = _fold(layers[0], *self._data.statistics(standardize=head.standardize))
        losses = [history.loss[-1], *history.val_loss[-1:]]
        usable = all(np.isfinite(part).all() for layer in layers for part in (layer.kernel, layer.bias))
        if history.best_epoch == 0 or not usable or (self._data.validation is None and not np.isfinite(losses[0])):
            told = next((f"the loss is {loss}" for loss in losses if not np.isfinite(loss)), "its weights overflowed")
            return f"diverged in epoch {len(history.loss)} ({told}): try a smaller learning_rate"
        # A value that JSON can hold, where a later epoch diverged but an earlier one was kept.
        history.loss = [v if np.isfinite(v) else None for v in history.loss]  # type: ignore[misc]
        history.val_loss = [v if np.isfinite(v) else None for v in history.val_loss]  # type: ignore[misc]
        head.set_fitted(layers, self._data.classes, history)
        return None


def _initial(heads: Sequence[NeuralHead], sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Returns the first parameters of the heads as the programs want them: Glorot uniform kernels, zero biases.

    References:
        Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    """
    kernels: list[list[np.ndarray]] = [[] for _ in sizes[1:]]
    for head in heads:
        rng = np.random.default_rng([head.random_state, 1])
        for layer, (inputs, units) in enumerate(pairwise(sizes)):
            limit = np.sqrt(6 / (inputs + units))
            kernels[layer].append(rng.uniform(-limit, limit, (inputs, units)).astype(np.float32))
    params = []
    for layer, stack in enumerate(kernels):
        params += [np.stack(stack, axis=1 if layer == 0 else 0), np.zeros((len(heads), sizes[layer + 1]), np.float32)]
    return params


def _fold(layer: Dense, mean: np.ndarray, scale: np.ndarray) -> Dense:
    """Returns a layer that does to raw features what `layer` does to standardised ones."""
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks whether the weights are finite
        kernel = layer.kernel / scale[:, None]
        return Dense(kernel.astype(np.float32), (layer.bias - mean @ kernel).astype(np.float32))
