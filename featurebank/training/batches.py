"""The interface between the training loop and the networks that it trains: batches, labels, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from featurebank.training.history import History
from featurebank.training.monitors import HeldOutPredictions


class Batches(NamedTuple):
    """The batches of an epoch, or of a part of it."""

    rows: np.ndarray
    """(steps, b) int32: rows of the training images; row image + view * images where there are views."""
    weights: np.ndarray
    """(steps, b) float32: 1, or 0 for the padding of the last batch."""
    block: Any = None
    """The images of this part, if the network reads them part by part; `rows` are rows of it then."""


def padded(rows: np.ndarray, size: int) -> Batches:
    """Returns rows (n,) in batches of `size`; the last one is padded with row 0, whose weight is 0."""
    steps = -(-len(rows) // size)
    filled = np.zeros(steps * size, np.int32)
    filled[: len(rows)] = rows
    weights = (np.arange(len(filled)) < len(rows)).astype(np.float32)
    return Batches(filled.reshape(steps, size), weights.reshape(steps, size))


def shuffled(images: int, views: int, size: int, rng: np.random.Generator) -> Batches:
    """Returns an epoch's batches in a new order, each image in one of its views, drawn at random.

    Args:
        images: number of training images.
        views: number of views of each image.
        size: images a batch.
        rng: draws the order and the views.
    """
    rows = rng.permutation(images).astype(np.int32)
    if views > 1:
        rows += images * rng.integers(0, views, images, dtype=np.int32)
    return padded(rows, size)


class Network(Protocol):
    """K heads of one shape that are trained by one program."""

    images: int
    """Number of training images."""
    views: int
    """Number of stored views of each image, including the clean one."""
    validated: bool
    """Whether there are validation images."""

    def parts(self, size: int, rng: np.random.Generator, epoch: int) -> Iterator[Batches]:
        """Yields the batches of an epoch in a new order, in one part or in several.

        Args:
            size: images a batch.
            rng: the same for all epochs, and used for nothing else.
            epoch: counted from 1.
        """

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch, or for a part of it.

        Args:
            batches: the training images in the order of this epoch.
            rates: (steps, K) learning rates.
            active: (K,) bool; inactive heads keep their weights.

        Returns:
            The mean training loss and the accuracy of each head, (K,) each: the mean over these batches, each
            computed before the step and with dropout, as Keras does. The loss includes label smoothing and penalties.
        """

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation loss, including label smoothing and penalties, and accuracy of each head: (K,) each."""

    def predict(self) -> HeldOutPredictions:
        """Returns the probabilities of the validation images, by all heads."""

    def keep(self, which: np.ndarray) -> None:
        """Stores the current weights of some heads, (K,) bool, as their best."""

    def narrow(self, positions: Sequence[int]) -> None:
        """Drops all heads but those at the given positions."""

    def hand_over(self, position: int, head: Any, history: History) -> bool:
        """Sets the best weights of a fitted head; returns False, without setting them, if they are not finite."""


class Labelled(Protocol):
    """The labels of training images, which all networks have in the same form."""

    y: np.ndarray
    """(n,) int32 positions in `classes`."""
    classes: np.ndarray
    """(classes,) labels in ascending order."""
    weights: np.ndarray | None
    """(n,) sample weights; None for 1 each."""


OnTrained = Callable[[int, str | None, float], None]
"""Called as a head stops, with its position, the reason why it failed or None, and its share of the seconds."""

OnHead = Callable[[int, str | None, float, int], None]
"""Called as a head stops, with its position, the reason why it failed or None, its share of its program's seconds, and
the number of heads in the program."""
