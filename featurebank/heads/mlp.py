"""The MLP head: hidden dense layers, then softmax."""

from __future__ import annotations

from collections.abc import Sequence

from featurebank.heads.neural import NeuralHead


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
        standardize: bool = False,
        random_state: int = 0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, optimizer=optimizer, momentum=momentum, l2=l2, dropout=dropout,
            label_smoothing=label_smoothing, batch_size=batch_size, epochs=epochs, patience=patience,
            standardize=standardize, random_state=random_state,
        )  # fmt: skip
        self.hidden_units = hidden_units
        self.activation = activation

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        return (self.hidden_units,) if isinstance(self.hidden_units, int) else tuple(self.hidden_units)

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return self.activation
