"""The softmax head: multinomial logistic regression trained by stochastic gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.together import train_together


@dataclass(kw_only=True, eq=False, repr=False)
class SoftmaxHead(NeuralHead):
    """One dense layer with softmax; see `NeuralHead` for its parameters."""

    train_heads = train_together

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns no hidden layer."""
        return ()

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and intercepts (classes,): their softmax is `predict_proba`."""
        return self.layers_[0].kernel, self.layers_[0].bias
