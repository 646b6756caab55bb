"""The course of a training: one array for each measured quantity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from featurebank.errors import ConfigError, unknown_name
from featurebank.words import counted


class Curves(dict[str, Any]):
    """The curves of a run by name, as in Keras's `History`: arrays (epochs,) with one value for each epoch.

    The names are "loss", "accuracy" (of the training images, computed before each step), "val_loss", "val_accuracy" and
    "learning_rate"; `best_epoch` is the number of the epoch whose weights were kept, counted from 1. A head without
    epochs, such as a support vector machine, has no curves.

    Example:
        >>> curves = Curves.of("mlp", {"loss": [0.9, 0.4], "val_accuracy": [0.5, 0.75], "best_epoch": 2})
        >>> curves, curves["val_accuracy"].max()
        (<Curves of 2 epochs: loss, val_accuracy; best epoch 2>, np.float64(0.75))
    """

    head = ""
    recorded: Mapping[str, Any] | None = None
    """The history as in the record of the run; None for a head without epochs."""

    @classmethod
    def of(cls, head: str, history: Mapping[str, Any] | None) -> Curves:
        """Returns the curves of a head's recorded history."""
        if isinstance(history, Curves):
            return history
        curves = cls({name: _array(values) for name, values in (history or {}).items()})
        curves.head, curves.recorded = head, history
        return curves

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, counted from 1; 0 without epochs, and if a fine-tune improved nothing."""
        return int(self.get("best_epoch", 0))

    def __missing__(self, name: str) -> Any:
        if not self:
            message = f"there is no curve '{name}': {self.head} is not trained in epochs"
            raise ConfigError(message)
        raise unknown_name("curve", str(name), self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Curves) and self.recorded == other.recorded

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        if not self:
            return "<Curves of 0 epochs>"
        curves = {name: values for name, values in self.items() if isinstance(values, np.ndarray) and len(values)}
        epochs = max(map(len, curves.values()), default=0)
        return f"<Curves of {counted(epochs, 'epoch')}: {', '.join(curves)}; best epoch {self.best_epoch}>"


def _array(values: Any) -> Any:
    """Returns a list of numbers as an array, with NaN for None, and anything else unchanged."""
    is_curve = isinstance(values, list) and all(value is None or isinstance(value, int | float) for value in values)
    return np.asarray(values, np.float64) if is_curve else values
