"""K dense heads of one shape as a `Network`: their tensors, and what of them becomes a trained head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from featurebank.heads.exact.transforms import row_blocks
from featurebank.heads.inputs import checked_features, flat_features, known_rows
from featurebank.heads.joint_network import JointNetwork
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.trained import TrainedHead
from featurebank.system.runtime import import_tensorflow
from featurebank.training.activations import normalization_terms
from featurebank.training.batches import Batches, padded
from featurebank.training.history import Dense, History
from featurebank.training.monitors import HeldOutPredictions
from featurebank.training.weights import SHARED_KERNEL, head_axis

Validation = tuple[np.ndarray, np.ndarray]

_ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass
class DenseData:
    """Features and labels as the programs take them."""

    X: np.ndarray
    """(n, d) float32."""
    y: np.ndarray
    """(n,) int32 positions in `classes`."""
    classes: np.ndarray
    validation: Validation | None
    views: Sequence[np.ndarray] = ()
    """Further views of the training images, (n, d) float32 each."""
    weights: np.ndarray | None = None
    """(n,) sample weights; None for 1 each."""
    _tensors: dict[bool, tuple[Any, Any | None]] = field(default_factory=dict)
    _statistics: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(
        cls, X: np.ndarray, y: np.ndarray, validation: Validation | None, views: Sequence[np.ndarray] = (),
        weights: np.ndarray | None = None,
    ) -> DenseData:  # fmt: skip
        """Checks features and labels.

        Raises:
            HeadInputError: features are not finite or of unequal shape, or there is only one class.
        """
        X = checked_features(X, y)
        classes, positions = np.unique(y, return_inverse=True)
        if known := known_rows(classes, *validation, X.shape[1]) if validation is not None else None:
            known = known[0], known[1].astype(np.int32)
        views = [flat_features(view, X.shape[1]) for view in views]
        return cls(X, positions.astype(np.int32), classes, known, views, weights)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's features."""
        return self.X.shape[1:]

    def statistics(self, *, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and scale of each feature over the clean training images, weighted, float64 (d,)."""
        if not standardize:
            return np.zeros(self.shape), np.ones(self.shape)
        if self._statistics is None:
            self._statistics = self._weighted_statistics() if self.weights is not None else self._plain_statistics()
        return self._statistics

    def _plain_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self.X.mean(axis=0, dtype=np.float64)
        squares = sum(np.square(self.X[rows] - mean).sum(axis=0) for rows in row_blocks(*self.X.shape))
        return mean, resolved_scale(mean, np.sqrt(squares / len(self.X)))

    def _weighted_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.weights is not None
        shares = self.weights / self.weights.sum()
        mean = sum((shares[rows] @ self.X[rows] for rows in row_blocks(*self.X.shape)), np.zeros(self.shape))
        variance = sum(shares[rows] @ np.square(self.X[rows] - mean) for rows in row_blocks(*self.X.shape))
        return mean, resolved_scale(mean, np.sqrt(variance))

    def tensors(self, *, standardize: bool) -> tuple[Any, Any | None]:
        """Returns training features (views one after another) and validation features.

        Those that were asked for last are kept, so that the programs of a grid share them; not both kinds, which would
        be the features twice in memory.
        """
        if standardize not in self._tensors:
            self._tensors.clear()
            tf = import_tensorflow()
            statistics = self.statistics(standardize=True) if standardize else None
            train = tf.constant(scaled(np.concatenate([self.X, *self.views]) if self.views else self.X, statistics))
            val = None if self.validation is None else tf.constant(scaled(self.validation[0], statistics))
            self._tensors[standardize] = train, val
        return self._tensors[standardize]


def resolved_scale(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Returns what features are divided by: their deviations (d,) float64, and 1 for features that are constant.

    A feature that varies by no more than float32 resolves at its mean is a constant: blown up to variance 1, its
    rounding would be all that a head sees of it.
    """
    return np.where(deviation > _ROUNDING * np.abs(mean), deviation, 1.0)


def scaled(X: np.ndarray, statistics: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Returns features (n, d) standardised by mean and scale (d,); the same array where they are None."""
    if statistics is None:
        return X
    mean, scale = (value.astype(np.float32) for value in statistics)
    scaled_X = X - mean
    scaled_X /= scale
    return scaled_X


class DenseTensors(JointNetwork):
    """The tensors of K dense heads while they are trained, wherever their images are.

    Args:
        heads: heads of one program; see `program_key`.
        data: features and labels to train on.
    """

    def __init__(self, heads: Sequence[NeuralHead], data: Any) -> None:
        super().__init__(heads, data, data.shape, variables=False)
        from featurebank.training.programs import dense, dense_blocks  # import TensorFlow at their top

        self._blocks, self._program = dense_blocks, dense
        self.images, self.validated = len(data.y), data.validation is not None
        self._best = {**self._params, **self._moving}
        self._steps = self._tf.constant(0)

    def _train(
        self, images: tuple[Any, Any, Any], batches: Batches, rates: np.ndarray, active: np.ndarray,
        count: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Takes the steps of some batches.

        Args:
            images: tensors of features (n, d), labels (n,) and sample weights (n,) or None.
            batches: row numbers and weights.
            rates: (steps, K) learning rates.
            active: (K,) bool.
            count: how many of the batches are taken; None for all.
        """
        tf, (X, _, sample_weights) = self._tf, images
        in_blocks = self._blocks.is_worth_it(self._shape, self._params[SHARED_KERNEL])
        programs = self._blocks if in_blocks else self._program
        optional = (() if sample_weights is None else [sample_weights.shape], () if count is None else [()])
        sizes = self._sizes(X.shape, batches.rows.shape, *(size for part in optional for size in part))
        epoch = programs.epoch_program(self._shape, sizes)
        self._params, self._slots, self._moving, self._steps, losses, accuracies = epoch(
            *images, tf.constant(batches.rows), tf.constant(batches.weights), tf.constant(rates), self._params,
            self._slots, self._moving, self._options, tf.constant(active, tf.float32), self._steps,
            None if count is None else tf.constant(count),
        )  # fmt: skip
        return losses.numpy(), accuracies.numpy()

    def _evaluate(self, X: Any, labels: Any, rows: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns losses and accuracies on tensors of features (n, d), labels (n,), and batches (steps, b)."""
        evaluate = self._program.evaluation_program(self._shape, self._sizes(X.shape, rows.shape))
        losses, accuracies = evaluate(X, labels, rows, weights, self._params, self._moving, self._options)
        return losses.numpy(), accuracies.numpy()

    def _predict(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Returns the probabilities (K, b, classes) of some rows (b,) of a tensor of features."""
        predict = self._program.prediction_program(self._shape, self._sizes(X.shape, rows.shape))
        return np.asarray(predict(X, self._tf.constant(rows), self._params, self._moving).numpy())

    def keep(self, which: np.ndarray) -> None:
        """Remembers the weights of some heads; see `Network`."""
        now = {**self._params, **self._moving}
        if which.all():
            self._best = now
        elif which.any():
            keep = self._program.keeping_program(self._sizes())
            self._best = keep(self._best, now, self._tf.constant(which))

    def narrow(self, positions: Sequence[int]) -> None:
        """Drops all heads but those at the given positions; see `Network`."""
        super().narrow(positions)
        self._best = {
            name: self._tf.gather(value, positions, axis=head_axis(name)) for name, value in self._best.items()
        }

    def hand_over(self, position: int, head: TrainedHead, history: History) -> bool:
        """Gives a head its weights; see `Network`."""
        best = {
            name: self._tf.gather(value, position, axis=head_axis(name)).numpy() for name, value in self._best.items()
        }
        layers = _folded(best, self._shape)
        layers[0] = _fold(layers[0], *self._data.statistics(standardize=self._first.standardize))
        if not all(np.isfinite(part).all() for layer in layers for part in (layer.kernel, layer.bias)):
            return False
        cast("NeuralHead", head).set_fitted(layers, self._data.classes, history)
        return True

    def _sizes(self, *more: Any) -> tuple[Any, ...]:
        return (*map(tuple, more), *(tuple(value.shape) for value in self._best.values()))


class DenseNetwork(DenseTensors):
    """The tensors of K dense heads, and of all their images.

    Args:
        heads: heads of one program; see `program_key`.
        data: features and labels to train on.
    """

    def __init__(self, heads: Sequence[NeuralHead], data: DenseData) -> None:
        super().__init__(heads, data)
        self.views = 1 + len(data.views)
        self._X, self._X_val = data.tensors(standardize=self._first.standardize)
        self._y = self._tf.constant(np.tile(data.y, self.views))
        weights = None if data.weights is None else np.tile(data.weights, self.views).astype(np.float32)
        self._weights = None if weights is None else self._tf.constant(weights)
        self._validation = self._validation_tensors()

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch; see `Network`."""
        return self._train((self._X, self._y, self._weights), batches, rates, active)

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation losses and accuracies; see `Network`."""
        return self._evaluate(self._X_val, *self._validation)

    def predict(self) -> HeldOutPredictions:
        """Returns the probabilities of the validation images; see `Network`."""
        labels, rows = self._data.validation[1], self._validation[1].numpy()
        parts = [self._predict(self._X_val, part) for part in rows]
        return HeldOutPredictions(np.concatenate(parts, axis=1)[:, : len(labels)], labels, self._data.classes)

    def _validation_tensors(self) -> tuple[Any, Any, Any]:
        """Returns labels, and all row numbers in blocks with their weights."""
        labels = np.zeros(1, np.int32) if self._data.validation is None else self._data.validation[1]
        rows, weights, _ = padded(np.arange(len(labels)), min(self._first.stem().evaluation_rows, len(labels)))
        return self._tf.constant(labels), self._tf.constant(rows), self._tf.constant(weights)


def _folded(best: dict[str, np.ndarray], shape: Any) -> list[Dense]:
    """Returns the layers of one head, batch normalisation folded into the dense layer before or after it."""
    layers = []
    for layer, name in enumerate(shape.kernels):
        kernel = best[name]
        layers.append(Dense(kernel, best.get(f"bias_dense{layer}", np.zeros(kernel.shape[1], np.float32))))
    for layer in range(len(layers) - 1 if shape.normalization else 0):
        scale, shift = normalization_terms(best, f"dense{layer}")
        if shape.normalization == "before":
            kernel, bias = layers[layer].kernel, layers[layer].bias
            layers[layer] = Dense(kernel * scale, bias * scale + shift)
        else:
            kernel, bias = layers[layer + 1].kernel, layers[layer + 1].bias
            layers[layer + 1] = Dense(kernel * scale[:, None], bias + shift @ kernel)
    return layers


def _fold(layer: Dense, mean: np.ndarray, scale: np.ndarray) -> Dense:
    """Returns a layer that does to raw features what `layer` does to standardised ones."""
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks whether the weights are finite
        kernel = layer.kernel / scale[:, None]
        return Dense(kernel.astype(np.float32), (layer.bias - mean @ kernel).astype(np.float32))
