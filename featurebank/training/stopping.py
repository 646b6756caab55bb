"""When a training stops, which of its epochs is kept, and when heads that have stopped leave their program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class EarlyStopping:
    """Decides after each epoch whether a training goes on, as Keras's `EarlyStopping(restore_best_weights=True)`.

    An epoch is the best if its value is better than that of the best epoch before by more than `min_delta`: its weights
    are kept, and the patience starts again.

    Args:
        patience: epochs without a better value before the training stops.
        min_delta: how far a value must fall to count as better.
        best: value of the best epoch so far.
        best_epoch: the best epoch so far, counted from 1.

    Example:
        >>> stopping = EarlyStopping(patience=2, min_delta=0.1)
        >>> [stopping.update(epoch, value) for epoch, value in enumerate((1.0, 0.95, 0.92), 1)]
        [(True, True), (False, True), (False, False)]
    """

    patience: int
    min_delta: float = 0.0
    best: float = np.inf
    best_epoch: int = 0

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> EarlyStopping:
        """Returns the instance whose `asdict` is in a checkpoint.

        Earlier versions also kept epochs that were better by less than `min_delta`. The value that the patience was
        compared with was `_lowest` there, and its epoch `_fell`.
        """
        if "_lowest" not in state:
            return cls(**state)
        return cls(state["patience"], state["min_delta"], state["_lowest"], state["_fell"])

    def update(self, epoch: int, value: float) -> tuple[bool, bool]:
        """Records the value of an epoch.

        Args:
            epoch: counted from 1.
            value: the monitored value, lower is better; NaN is never better.

        Returns:
            Whether this is the best epoch so far, and whether the training goes on.
        """
        better = self._is_better(value)
        if better:
            self.best, self.best_epoch = value, epoch
        return better, epoch - self.best_epoch < self.patience

    def _is_better(self, value: float) -> bool:
        if not self.min_delta:
            return bool(value < self.best)
        with np.errstate(over="ignore"):  # Keras compares in float32, where a difference may be no more than rounding
            return bool(np.float32(value + self.min_delta) < np.float32(self.best))


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
