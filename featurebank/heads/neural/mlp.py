"""The MLP head: hidden dense layers, then softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurebank.heads.joint import HiddenLayers
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.together import train_together


@dataclass(kw_only=True, eq=False, repr=False)
class MLPHead(HiddenLayers, NeuralHead):
    """Dense layers with an activation, batch normalisation and dropout, then softmax.

    Args:
        hidden_units: the width of each hidden layer; one number for one layer.
        batch_norm: normalise each hidden unit over the batch, "before" its activation (as true does) or "after" it.
            Of a trained head it is folded into the weights.
        learning_rate: see `TrainingOptions`, as for all the others.
        dropout: see `NeuralHead`.
    """

    hidden_units: int | Sequence[int] = 256

    train_heads = train_together
