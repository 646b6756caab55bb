"""The MLP head: hidden dense layers, then softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurebank.heads.neural import ACTIVATIONS, NeuralHead, is_width


class MLPHead(NeuralHead):
    """Dense layers with an activation and dropout, then softmax.

    Args:
        hidden_units: the width of each hidden layer; one number for one layer.
        activation: "relu", "tanh" or "gelu".
        learning_rate: see `NeuralHead`, as for all the others.
    """

    def __init__(
        self,
        *,
        hidden_units: int | Sequence[int] = 256,
        activation: str = "relu",
        learning_rate: float = 1e-3,
        optimizer: str = "adam",
        momentum: float = 0.9,
        l2: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        batch_size: int = 32,
        epochs: int = 100,
        patience: int = 10,
        min_delta: float = 0.0,
        standardize: bool = False,
        random_state: int = 0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, optimizer=optimizer, momentum=momentum, l2=l2, dropout=dropout,
            label_smoothing=label_smoothing, batch_size=batch_size, epochs=epochs, patience=patience,
            min_delta=min_delta, standardize=standardize, random_state=random_state,
        )  # fmt: skip
        self.hidden_units = hidden_units
        self.activation = activation

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        return tuple(map(int, [self.hidden_units] if is_width(self.hidden_units) else self.hidden_units))  # type: ignore[arg-type]

    def check_layers(self) -> list[tuple[str, Any, str, bool]]:
        """Returns what `NeuralHead.check` is to look at."""
        units = self.hidden_units
        sized = is_width(units) or (isinstance(units, list | tuple) and all(map(is_width, units)))
        return [
            ("activation", self.activation, ", ".join(ACTIVATIONS), self.activation in ACTIVATIONS),
            ("hidden_units", units, "whole numbers of 1 or more", sized),
        ]

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return self.activation
