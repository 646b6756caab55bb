"""What the loop of a training and the networks that it trains agree on: batches, labels, reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from featurebank.training.history import History


class Batches(NamedTuple):
    """The batches of an epoch."""

    rows: np.ndarray
    """(steps, b) int32: which training images; with views, image + view * images."""
    weights: np.ndarray
    """(steps, b) float32: 1, or 0 for what fills up the last batch."""


def padded(rows: np.ndarray, size: int) -> Batches:
    """Returns rows (n,) in batches of `size`, the last one filled up with row 0 of the weight 0."""
    steps = -(-len(rows) // size)
    filled = np.zeros(steps * size, np.int32)
    filled[: len(rows)] = rows
    weights = (np.arange(len(filled)) < len(rows)).astype(np.float32)
    return Batches(filled.reshape(steps, size), weights.reshape(steps, size))


class Network(Protocol):
    """K heads of one shape in one program."""

    images: int
    """Training images."""
    views: int
    """How many stored views of each there are, the clean one included."""
    validated: bool
    """Whether there are validation images."""

    def run_epoch(self, batches: Batches, rates: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Trains for one epoch.

        Args:
            batches: in which order.
            rates: (steps, K) learning rates.
            active: (K,) bool: the others keep their weights.

        Returns:
            The mean training loss and the accuracy of each head, (K,) each: the mean over the epoch's batches, each
            judged before its step and with dropout, as Keras does. The loss has label smoothing and penalties.
        """

    def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the validation loss, with label smoothing and penalties, and accuracy of each head: (K,) each."""

    def keep(self, which: np.ndarray) -> None:
        """Remembers the weights of these heads (K,) bool as the ones to hand over."""

    def narrow(self, positions: Sequence[int]) -> None:
        """Goes on with these heads only."""

    def hand_over(self, position: int, head: Any, history: History) -> bool:
        """Gives a head its kept weights; returns False, and gives none, where they are not finite."""


class Labelled(Protocol):
    """Training images, as far as all networks' are alike."""

    y: np.ndarray
    """(n,) int32 positions in `classes`."""
    classes: np.ndarray


OnTrained = Callable[[int, str | None, float], None]
"""Called with the position of a head as it stops, why it failed or None, and its share of the seconds."""


OnHead = Callable[[int, str | None, float, int], None]
"""Called with the position of a head as it stops, why it failed or None, its share of its program's seconds, and how
many heads the program held."""
