"""What a training by gradient descent leaves: the weights of dense layers, and one value an epoch."""

from __future__ import annotations

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
    """One value an epoch, under the names that Keras's `History` has, and as Keras computes it."""

    loss: list[float] = field(default_factory=list)
    """Mean over the batches, each before its step, with dropout, label smoothing, class weights and penalties."""
    accuracy: list[float] = field(default_factory=list)
    """Likewise; empty in heads that were saved before it was recorded."""
    val_loss: list[float] = field(default_factory=list)
    """Of the validation images, with label smoothing and penalties. The loss among the metrics of a run has neither."""
    val_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    """Of the epoch's last step."""
    best_epoch: int = 0
    """Whose weights were kept, counted from 1."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the history as JSON values."""
        return {
            "loss": self.loss, "accuracy": self.accuracy, "val_loss": self.val_loss, "val_accuracy": self.val_accuracy,
            "learning_rate": self.learning_rate, "best_epoch": self.best_epoch,
        }  # fmt: skip
