"""The results of a training by gradient descent: the weights of dense layers, and metrics of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Dense:
    """A layer's weights: kernel (inputs, units) and bias (units,), float32."""

    kernel: np.ndarray
    bias: np.ndarray


@dataclass
class History:
    """One value for each epoch, named and computed as in Keras's `History`."""

    loss: list[float] = field(default_factory=list)
    """Mean over the batches, computed before each step, with dropout, label smoothing, class weights and penalties."""
    accuracy: list[float] = field(default_factory=list)
    """Computed like the loss; empty in heads of versions that did not record it."""
    val_loss: list[float] = field(default_factory=list)
    """Loss of the validation images, with label smoothing and penalties; the loss among a run's metrics has neither."""
    val_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    """Learning rate of the last step of each epoch."""
    best_epoch: int = 0
    """The epoch whose weights were kept, counted from 1."""
    monitor: str = ""
    """The name of the metric that decided it, as "val_auroc", if it is none of the above."""
    monitored: list[float] = field(default_factory=list)
    """The values of this metric."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> History:
        """Returns the history of `to_dict`."""
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        more = [(name, value) for name, value in values.items() if name not in known]
        return cls(**known, **dict(zip(("monitor", "monitored"), more[0], strict=True)) if more else {})

    def to_dict(self) -> dict[str, Any]:
        """Returns the history as JSON values."""
        return {
            "loss": self.loss, "accuracy": self.accuracy, "val_loss": self.val_loss, "val_accuracy": self.val_accuracy,
            "learning_rate": self.learning_rate, "best_epoch": self.best_epoch,
            **({self.monitor: self.monitored} if self.monitor else {}),
        }  # fmt: skip
