"""When a training stops, and which of its epochs is kept: one value an epoch, the lower the better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class EarlyStopping:
    """Follows one training.

    The weights of the best epoch are kept, by however little it was better; for the patience an epoch counts as better
    only where it is so by more than `min_delta`, as in Keras's `EarlyStopping`.

    Args:
        patience: epochs without a better value before it stops.
        min_delta: by how much a value must fall to count as better for the patience.
    """

    patience: int
    min_delta: float = 0.0
    best: float = np.inf
    _lowest: float = np.inf
    _fell: int = 0

    def take(self, epoch: int, value: float) -> tuple[bool, bool]:
        """Takes the value of an epoch.

        Args:
            epoch: counted from 1.
            value: what is watched; NaN is never better.

        Returns:
            Whether this is the best epoch so far, and whether the training goes on.
        """
        better = bool(value < self.best)
        if better:
            self.best = value
        if value < self._lowest - self.min_delta:
            self._lowest, self._fell = value, epoch
        return better, epoch - self._fell < self.patience
