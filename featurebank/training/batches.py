"""The interface between the training loop and the networks that it trains: batches, labels, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from featurebank.training.history import History


class Batches(NamedTuple):
    """The batches of an epoch."""

    rows: np.ndarray
    """(steps, b) int32: rows of the training images; row image + view * images where there are views."""
    weights: np.ndarray
    """(steps, b) float32: 1, or 0 for the padding of the last batch."""


def padded(rows: np.ndarray, size: int) -> Batches:
    """Returns rows (n,) in batches of `size`; the last one is padded with row 0, whose weight is 0."""
    steps = -(-len(rows) // size)
    filled = np.zeros(steps * size, np.int32)
    filled[: len(rows)] = rows
    weights = (np.arange(len(filled)) < len(rows)).astype(np.float32)
    return Batches(filled.reshape(steps, size), weights.reshape(steps, size))


class Network(Protocol):
    """K heads of one shape that are trained by one program."""

    images: int
    """Number of training images."""
    views: int
    """Number of stored views of each image, including the clean one."""
    validated: bool
    """Whether there are validation images."""

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch.

        Args:
            batches: the training images in the order of this epoch.
            rates: (steps, K) learning rates.
            active: (K,) bool; inactive heads keep their weights.

        Returns:
            The mean training loss and the accuracy of each head, (K,) each: the mean over the epoch's batches, each
            computed before the step and with dropout, as Keras does. The loss includes label smoothing and penalties.
        """

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation loss, including label smoothing and penalties, and accuracy of each head: (K,) each."""

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
