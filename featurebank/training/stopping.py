"""When a training stops, which of its epochs is kept, and when heads that have stopped leave their program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass
class EarlyStopping:
    """Decides after each epoch whether a training goes on.

    The weights of the best epoch are kept, however small its lead is; for the patience an epoch counts as better only
    if it is better by more than `min_delta`, as in Keras's `EarlyStopping`.

    Args:
        patience: epochs without a better value before the training stops.
        min_delta: how far a value must fall to count as better for the patience.
    """

    patience: int
    min_delta: float = 0.0
    best: float = np.inf
    _lowest: float = np.inf
    _fell: int = 0

    def update(self, epoch: int, value: float) -> tuple[bool, bool]:
        """Records the value of an epoch.

        Args:
            epoch: counted from 1.
            value: the monitored value, lower is better; NaN is never better.

        Returns:
            Whether this is the best epoch so far, and whether the training goes on.
        """
        better = bool(value < self.best)
        if better:
            self.best = value
        if value < self._lowest - self.min_delta:
            self._lowest, self._fell = value, epoch
        return better, epoch - self._fell < self.patience


@dataclass
class Narrowing:
    """Decides when heads that have stopped leave the program, which then has to be compiled anew.

    An epoch wastes the share of its seconds that goes to stopped heads. Once more has been wasted than a compilation
    costs, they leave: whatever comes, that takes no more than twice the time of the best decision in hindsight (the
    ski-rental argument: Karlin, Manasse, Rudolph, Sleator, "Competitive snoopy caching", Algorithmica 3, 1988). Sizes
    are powers of two, so that few programs serve many grids.
    """

    compilation: float = 0.0
    wasted: float = 0.0
    _first: float | None = None

    def decide(self, active: Sequence[bool], seconds: float) -> list[int] | None:
        """Records an epoch; returns the positions of the heads that stay in the program, or None where all stay.

        Args:
            active: for each head of the program whether it goes on.
            seconds: duration of the epoch.
        """
        if self._first is None:  # the first epoch compiles
            self._first = seconds
            return None
        self.compilation = max(self.compilation, self._first - seconds)
        going_on = [k for k, on in enumerate(active) if on]
        self.wasted += seconds * (1 - len(going_on) / len(active))
        size = 1 << max(0, len(going_on) - 1).bit_length()
        if not going_on or size >= len(active) or self.wasted < self.compilation:
            return None
        self.wasted, self._first = 0.0, None
        stopped = [k for k, on in enumerate(active) if not on]
        return sorted(going_on + stopped[: size - len(going_on)])
