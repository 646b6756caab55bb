"""The softmax head: multinomial logistic regression trained by stochastic gradients."""

from __future__ import annotations

from featurebank.heads.neural import NeuralHead


class SoftmaxHead(NeuralHead):
    """One dense layer with softmax; see `NeuralHead` for its parameters."""

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns no hidden layer."""
        return ()
