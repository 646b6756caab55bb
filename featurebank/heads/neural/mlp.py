"""The MLP head: hidden dense layers, then softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.together import train_together
from featurebank.system.validation import ParameterCheck, choice, listed, number, widths
from featurebank.training.activations import ACTIVATIONS
from featurebank.training.options import batch_norm_position


@dataclass(kw_only=True, eq=False, repr=False)
class MLPHead(NeuralHead):
    """Dense layers with an activation, batch normalisation and dropout, then softmax.

    Args:
        hidden_units: the width of each hidden layer; one number for one layer.
        activation: "relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "sigmoid" or "linear".
        batch_norm: normalise each hidden unit over the batch, "before" its activation (as true does) or "after" it.
            Of a trained head it is folded into the weights.
        batch_norm_momentum: of the moving mean and variance that the trained head uses.
        learning_rate: see `TrainingOptions`, as for all the others.
        dropout: see `NeuralHead`.
    """

    hidden_units: int | Sequence[int] = 256
    activation: str = "relu"
    batch_norm: bool | str = False
    batch_norm_momentum: float = 0.99

    train_heads = staticmethod(train_together)

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        return tuple(listed(self.hidden_units))

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        return [
            *super().checks(),
            choice("activation", self.activation, ACTIVATIONS),
            widths("hidden_units", self.hidden_units),
            choice("batch_norm", self.batch_norm, (True, False, "before", "after")),
            number("batch_norm_momentum", self.batch_norm_momentum, below=1),
        ]

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return self.activation

    def normalization(self) -> tuple[str, float]:
        """Returns where batch normalisation stands, and its momentum."""
        return batch_norm_position(self.batch_norm), float(self.batch_norm_momentum)
