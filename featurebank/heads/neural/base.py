"""What the neural heads share: their layers, their weights, and their answer in plain numpy.

A neural head is a stack of dense layers, the last one softmax. It is trained by `featurebank.heads.neural.together`,
alone or together with others, and needs TensorFlow for that alone: a trained head predicts with three lines of numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.base import State
from featurebank.heads.joint import JointHead
from featurebank.heads.keras_layers import dense, flat
from featurebank.system.validation import ParameterCheck, number
from featurebank.training.activations import activate, softmax
from featurebank.training.history import Dense, History

_STEP = 1e-6
"""Of the central difference that gives the slope of an activation, whichever it is; its error is about 1e-10."""


@dataclass(kw_only=True, eq=False, repr=False)
class NeuralHead(JointHead):
    """Base of the heads made of dense layers; a subclass returns the widths of its hidden layers.

    Args:
        dropout: rate before the last layer and after each hidden one; a list has one for each of these places.
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    dropout: float | Sequence[float] = 0.0

    streams = True
    saved_as = "neural"
    adds_a_nanosecond = 60

    def dropout_places(self) -> int:
        """Returns 1 for each layer but the first; of a head without hidden layers, 1 for its only one."""
        return max(1, len(self.layer_sizes()))

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        rates = self.dropout if isinstance(self.dropout, list | tuple) else [self.dropout]
        holds = all(number("", rate, below=1).holds for rate in rates)
        dropout = ParameterCheck("dropout", self.dropout, "a number from 0 to below 1, or a list of them", holds)
        return [*super().checks(), dropout]

    def check(self) -> None:
        """Raises HeadInputError, with all problems, if parameters are of a wrong type or out of their range."""
        super().check()
        places = self.dropout_places()
        if isinstance(self.dropout, list | tuple) and len(self.dropout) != places:
            message = f"{type(self).__name__}: dropout has {len(self.dropout)} rates, expected {places}"
            raise HeadInputError(message)

    def set_fitted(self, layers: list[Dense], classes: np.ndarray, history: History) -> None:
        """Takes the result of the training."""
        self.layers_, self.classes_, self.history_ = layers, classes, history
        self.n_features_in_ = layers[0].kernel.shape[0]

    def state(self) -> State:
        """Returns the layers' weights and the history; see `Head.state`."""
        arrays: dict[str, np.ndarray] = {}
        for place, layer in enumerate(self.layers_):
            arrays |= {f"layer{place}_kernel": layer.kernel, f"layer{place}_bias": layer.bias}
        return State(arrays, {"history": self.history_.to_dict()})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned."""
        arrays, count = state.arrays, sum(1 for name in state.arrays if name.endswith("_kernel"))
        layers = [Dense(arrays[f"layer{place}_kernel"], arrays[f"layer{place}_bias"]) for place in range(count)]
        self.set_fitted(layers, classes, History.of(state.facts["history"]))

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph as dense layers; see `Head.keras_layers_`."""
        outputs = flat(tensor)
        for place, layer in enumerate(self.layers_[:-1]):
            outputs = dense(outputs, layer.kernel, layer.bias, f"head_dense{place}", self.hidden_activation())
        return dense(outputs, self.layers_[-1].kernel, self.layers_[-1].bias, "head_logits")

    def score_gradients_(self, X: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns the gradient of a logit by the features, (n, d); see `Head.score_gradients_`."""
        outputs, slopes = self._inputs(X).astype(np.float64), []
        for layer in self.layers_[:-1]:
            before = outputs @ layer.kernel + layer.bias
            outputs, *sides = (activate(self.hidden_activation(), before + step) for step in (0, _STEP, -_STEP))
            slopes.append((sides[0] - sides[1]) / (2 * _STEP))
        gradients = self.layers_[-1].kernel.T[places]
        for layer, slope in zip(self.layers_[-2::-1], reversed(slopes), strict=True):
            gradients = gradients * slope @ layer.kernel.T
        return np.asarray(gradients)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`."""
        return self._answer(self._inputs(X))

    def _answer(self, outputs: np.ndarray) -> np.ndarray:
        """Returns probabilities of checked features (n, d)."""
        for layer in self.layers_[:-1]:
            outputs = activate(self.hidden_activation(), outputs @ layer.kernel + layer.bias)
        return softmax(outputs @ self.layers_[-1].kernel + self.layers_[-1].bias)
