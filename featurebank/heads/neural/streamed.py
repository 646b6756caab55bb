"""Training of dense heads on vectors that stay in the bank: an epoch is a sequence of blocks, read ahead by a thread.

All heads of a program share each block. The batches follow the same law as in memory: an epoch takes each image once,
in one of its views, and only its last batch is padded. A block holds a whole number of batches, and all blocks have one
size (the last one is filled up), so that one compiled program serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurebank.heads.inputs import check_labels, flat_features
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.network import DenseTensors, resolved_scale, scaled
from featurebank.heads.streamed.features import StoredFeatures
from featurebank.heads.streamed.labels import encoded, known_vectors
from featurebank.heads.streamed.progress import PassProgress
from featurebank.heads.streamed.vectors import VectorBlock
from featurebank.system.runtime import ram_limit
from featurebank.training.batches import Batches, padded
from featurebank.training.loop import part_ended
from featurebank.training.monitors import HeldOutPredictions

_BLOCK_BYTES = 32 << 20
"""Of a block at most: beside it, two blocks wait, and TensorFlow has a copy."""
_BLOCK_NANOSECONDS = 2e9
"""The longest time that a block should take: nothing interrupts a compiled program, and progress is shown after it."""


def is_streamed(X: Any, validation: tuple[Any, np.ndarray] | None) -> bool:
    """Returns whether training or validation features stay in the bank."""
    return isinstance(X, StoredFeatures) or (validation is not None and isinstance(validation[0], StoredFeatures))


@dataclass
class StreamedData:
    """Features and labels, of which at least the training or the validation features are read block by block."""

    X: Any
    """(n, d) `StoredVectors`, with all views; or `VectorsInMemory`."""
    y: np.ndarray
    """(n,) int32 positions in `classes`."""
    classes: np.ndarray
    validation: tuple[Any, np.ndarray] | None
    weights: np.ndarray | None = None
    """(n,) sample weights; None for 1 each."""
    _statistics: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(
        cls, X: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None, views: Sequence[np.ndarray] = (),
        weights: np.ndarray | None = None,
    ) -> StreamedData:  # fmt: skip
        """Checks labels and shapes; features are checked as they are read.

        Args:
            X: (n, d) features, or `StoredVectors`, which contain their views.
            y: (n,) labels.
            validation: features and labels.
            views: further views of X, if X is an array.
            weights: (n,) sample weights.

        Raises:
            HeadInputError: features are of unequal width, labels do not fit them, or there is only one class.
        """
        vectors = X if isinstance(X, StoredFeatures) else VectorsInMemory.of(X, views)
        y = np.asarray(y)
        check_labels(y, len(vectors))
        classes, positions = encoded(y)
        known = known_vectors(classes, *validation, vectors.shape[1]) if validation is not None else None
        if known and isinstance(known[0], np.ndarray):
            known = VectorsInMemory([known[0]]), known[1]
        return cls(vectors, positions, classes, known, weights)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's features."""
        return tuple(self.X.shape[1:])

    def statistics(self, *, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and scale of each feature over the clean training images, float64 (d,), in one pass."""
        if not standardize:
            return np.zeros(self.shape), np.ones(self.shape)
        if not self._statistics:
            mean, squares, seen = np.zeros(self.shape), np.zeros(self.shape), 0.0
            progress = PassProgress("mean and deviation", len(self.X))
            for X, rows in self.X.blocks():
                progress.advance(len(rows))
                total, of_block, around = self._sums(X, rows)
                moved, seen = of_block - mean, seen + total
                squares += around + moved**2 * (total * (seen - total) / seen)
                mean += moved * (total / seen)
                part_ended()
            progress.end()
            self._statistics = [mean, resolved_scale(mean, np.sqrt(squares / seen))]
        return self._statistics[0], self._statistics[1]

    def _sums(self, X: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Returns the weight of a block, its mean, and the sum of the squared differences from it."""
        if self.weights is None:
            mean = X.mean(axis=0, dtype=np.float64)
            return float(len(rows)), mean, np.square(X - mean).sum(axis=0)
        weights = self.weights[rows]
        total = float(weights.sum())
        mean = weights @ X / total
        return total, mean, weights @ np.square(X - mean)


@dataclass(frozen=True)
class VectorsInMemory:
    """Arrays that are read like `StoredVectors`, beside validation features that stay in the bank."""

    arrays: Sequence[np.ndarray]
    """(n, d) float32 each: the clean view first."""

    @classmethod
    def of(cls, X: np.ndarray, views: Sequence[np.ndarray] = ()) -> VectorsInMemory:
        """Checks features; raises HeadInputError where they are not finite or of unequal width."""
        first = flat_features(X)
        return cls([first, *(flat_features(view, first.shape[1]) for view in views)])

    def __len__(self) -> int:
        return len(self.arrays[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return self.arrays[0].shape

    @property
    def views(self) -> int:
        """The number of views."""
        return len(self.arrays)

    def blocks(
        self, seed: int | None = None, epoch: int = 0, *, block_bytes: int = _BLOCK_BYTES
    ) -> Iterator[VectorBlock]:
        """Yields the rows in blocks, shuffled as a whole where there is a seed; see `StoredVectors.blocks`."""
        rng, count = np.random.default_rng([seed or 0, epoch]), len(self)
        rows = np.arange(count) if seed is None else rng.permutation(count)
        most = max(1, block_bytes // (4 * self.shape[1]))
        for start in range(0, count, most):
            part = rows[start : start + most]
            view = np.zeros(len(part), int) if seed is None else rng.integers(0, self.views, len(part))
            X = np.stack([self.arrays[v][i] for v, i in zip(view.tolist(), part.tolist(), strict=True)])
            yield VectorBlock(X, part + view * count)


class StreamedNetwork(DenseTensors):
    """The tensors of K dense heads that are trained block by block.

    Args:
        heads: heads of one program; see `program_key`.
        data: features and labels to train on.
    """

    def __init__(self, heads: Sequence[NeuralHead], data: StreamedData) -> None:
        super().__init__(heads, data)
        self.views, self._source = data.X.views, data.X
        self._standard = data.statistics(standardize=True) if self._first.standardize else None
        self._row_nanoseconds = sum(head.cost(1, data.shape, len(data.classes)) / head.epochs for head in heads)

    def parts(self, size: int, rng: np.random.Generator, epoch: int) -> Iterator[Batches]:
        """Yields the batches of an epoch block by block, in an order that depends on seed and epoch; see `Network`."""
        block_bytes = self._batches_a_block(size, self.images) * size * self._row_bytes
        progress = PassProgress(f"epoch {epoch}", self.images)
        for block in self._source.blocks(self._first.random_state, epoch, block_bytes=block_bytes):
            rows, weights, _ = padded(np.arange(len(block.rows)), size)
            yield Batches(rows, weights, block)
            progress.advance(len(block.rows))
        progress.end()

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains on one block; see `Network`."""
        count, size = batches.rows.shape
        steps, images = self._batches_a_block(size, self.images), batches.block.rows % self.images
        labels, sample_weights = self._data.y[images], self._data.weights
        weighted = None
        if sample_weights is not None:
            weighted = self._tf.constant(_filled(sample_weights[images].astype(np.float32), steps * size))
        X, y = self._features(batches.block, steps * size), _filled(labels, steps * size)
        filled = Batches(_filled(batches.rows, steps), _filled(batches.weights, steps))
        tensors = self._tf.constant(X), self._tf.constant(y), weighted
        return self._train(tensors, filled, _filled(rates, steps), active, count)

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation losses and accuracies; see `Network`."""
        X, labels = self._data.validation
        size = min(self._first.stem().evaluation_rows, len(labels))
        most = self._batches_a_block(size, len(labels)) * size
        totals, progress = np.zeros((2, *self._options["l1"].shape)), PassProgress("validation", len(labels))
        for block in X.blocks(block_bytes=most * self._row_bytes):
            rows, weights, _ = padded(np.arange(len(block.rows)), size)
            tensors = (
                self._features(block, most), _filled(labels[block.rows], most), _filled(rows, most // size),
                _filled(weights, most // size),
            )  # fmt: skip
            totals += np.multiply(self._evaluate(*map(self._tf.constant, tensors)), len(block.rows) / len(labels))
            progress.advance(len(block.rows))
            part_ended()
        progress.end()
        return totals[0], totals[1]

    def predict(self) -> HeldOutPredictions:
        """Returns the probabilities of the validation images; see `Network`."""
        X, labels = self._data.validation
        size = min(self._first.stem().evaluation_rows, len(labels))
        most = self._batches_a_block(size, len(labels)) * size
        found = np.empty((self._options["l1"].shape[0], len(labels), len(self._data.classes)), np.float32)
        for block in X.blocks(block_bytes=most * self._row_bytes):
            features = self._tf.constant(self._features(block, most))
            batches = padded(np.arange(len(block.rows)), size)
            for rows, weights in zip(batches.rows, batches.weights, strict=True):
                real = rows[weights > 0]  # the last batch is filled up
                found[:, block.rows[real]] = self._predict(features, rows)[:, : len(real)]
            part_ended()
        return HeldOutPredictions(found, labels, self._data.classes)

    def _features(self, block: VectorBlock, rows: int) -> np.ndarray:
        """Returns the features of a block as the heads see them, filled up with rows of zeros."""
        return _filled(scaled(block.X, self._standard), rows)

    @property
    def _row_bytes(self) -> int:
        return 4 * int(self._data.shape[0])

    def _batches_a_block(self, size: int, images: int) -> int:
        """Returns how many batches a block has, of so many images."""
        allowed = min(_BLOCK_BYTES, ram_limit() // 32) // (size * self._row_bytes)
        bearable = int(_BLOCK_NANOSECONDS / (size * self._row_nanoseconds))
        return max(1, min(allowed, bearable, -(-images // size)))


def _filled(array: np.ndarray, rows: int) -> np.ndarray:
    """Returns an array with rows of zeros appended, up to so many rows; itself where it has them."""
    if len(array) == rows:
        return array
    filled = np.zeros((rows, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled
