"""The learning rate over a training: plain numpy, by step and epoch, with the formulas of Keras.

Each schedule is a function of the step since the warm-up ended. `plateau` is the exception: its rate depends on how the
training goes, and `Plateau` is called after each epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SCHEDULES = ("constant", "inverse_time", "exponential", "cosine", "plateau")
_LEAST_CHANGE = 1e-4
"""The least improvement that counts for a plateau: `min_delta` of Keras's `ReduceLROnPlateau`."""


@dataclass(frozen=True)
class Schedule:
    """A learning rate for every step.

    Args:
        rate: the learning rate to start from.
        kind: one of `SCHEDULES`.
        decay: of "inverse_time": rate / (1 + decay * step); of "exponential": rate * decay ** epoch.
        warmup: epochs in which the rate rises from 0.
        epochs: at most; "cosine" reaches 0 after them.

    References:
        Cosine: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv:1608.03983.
        Warm-up: Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677.
    """

    rate: float
    kind: str = "constant"
    decay: float = 0.0
    warmup: float = 0.0
    epochs: int = 1

    def rates(self, epoch: int, steps: int, part: slice | None = None) -> np.ndarray:
        """Returns the rate of each step of an epoch, or of some of them.

        Args:
            epoch: counted from 1.
            steps: number of steps in an epoch.
            part: which of them, from `start` to `stop`; None for all.

        Returns:
            (steps,) float64.
        """
        part = part or slice(0, steps)
        step = np.arange(part.start, part.stop, dtype=np.float64) + (epoch - 1) * steps
        warm = self.warmup * steps
        since = np.maximum(step - warm, 0.0)
        if self.kind == "inverse_time":
            rates = self.rate / (1 + self.decay * since)
        elif self.kind == "exponential":
            rates = self.rate * self.decay ** (since / steps)
        elif self.kind == "cosine":
            whole = max(self.epochs * steps - warm, 1.0)
            rates = 0.5 * self.rate * (1 + np.cos(np.pi * np.minimum(since / whole, 1.0)))
        else:
            rates = np.full(len(step), self.rate)
        return np.asarray(np.where(step < warm, self.rate * step / max(warm, 1.0), rates))


@dataclass
class Plateau:
    """Lowers a learning rate when the training stops improving, as Keras's `ReduceLROnPlateau`.

    Args:
        factor: factor by which the rate is multiplied.
        patience: epochs without a better value before the rate is lowered.
        floor: smallest rate.
    """

    factor: float
    patience: int
    floor: float
    best: float = np.inf
    waited: int = 0

    def lowered(self, rate: float, value: float) -> float:
        """Returns the rate of the next epoch.

        Args:
            rate: rate of this epoch.
            value: the monitored value; lower is better.
        """
        if value < self.best - _LEAST_CHANGE:
            self.best, self.waited = value, 0
            return rate
        self.waited += 1
        if self.waited < self.patience or rate <= self.floor:
            return rate
        self.waited = 0
        return max(rate * self.factor, self.floor)
