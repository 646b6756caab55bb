"""What the neural heads share: their options, their weights, and their answer in plain numpy.

A neural head is a stack of dense layers, the last one softmax. It is trained by `featurebank.heads.trainer`, alone or
together with others, and needs TensorFlow for that alone: a trained head predicts with three lines of numpy.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.base import Head

ACTIVATIONS = ("relu", "tanh", "gelu")
OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True)
class Dense:
    """A layer's weights: kernel (inputs, units) and bias (units,), float32."""

    kernel: np.ndarray
    bias: np.ndarray


@dataclass
class History:
    """One value an epoch."""

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0
    """Whose weights were kept, counted from 1."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the history as JSON values."""
        return {
            "loss": self.loss, "val_loss": self.val_loss, "val_accuracy": self.val_accuracy,
            "best_epoch": self.best_epoch,
        }  # fmt: skip


class NeuralHead(Head):
    """Base of the heads made of dense layers; follows scikit-learn's contract.

    Subclasses take at least these parameters, and tell their hidden layers by `layer_sizes`.

    Args:
        learning_rate: of the optimizer.
        optimizer: "adam" or "sgd", with Keras's update rules.
        momentum: of "sgd"; 0 for none.
        l2: penalty l2 * sum(kernel ** 2) of each layer, added to the loss as Keras's `regularizers.L2` does.
        dropout: rate before the last layer and after each hidden one.
        label_smoothing: share of the target spread evenly over the classes.
        batch_size: images a step.
        epochs: at most.
        patience: epochs without a better validation loss before the head stops; its best weights are kept. Without
            validation data all epochs are run and the last weights kept.
        min_delta: by how much the validation loss must fall to count as better for `patience`.
        standardize: bring each feature to mean 0 and variance 1 over the training images; folded into the weights.
        random_state: seed of weights, batches and dropout.
    """

    def __init__(
        self,
        *,
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
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.momentum = momentum
        self.l2 = l2
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.min_delta = min_delta
        self.standardize = standardize
        self.random_state = random_state

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        raise NotImplementedError

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return "relu"

    def check(self) -> None:
        """Raises HeadError where parameters are of a wrong type or out of their range; its message has all of them."""
        problems = [
            ("learning_rate", self.learning_rate, "a number above 0", _is_number(self.learning_rate, above=0)),
            ("optimizer", self.optimizer, " or ".join(OPTIMIZERS), self.optimizer in OPTIMIZERS),
            *(
                (name, getattr(self, name), "a number from 0 to below 1", _is_number(getattr(self, name), below=1))
                for name in ("momentum", "dropout", "label_smoothing")
            ),
            *(
                (name, getattr(self, name), "a number of 0 or more", _is_number(getattr(self, name)))
                for name in ("l2", "min_delta")
            ),
            *(
                (name, getattr(self, name), "a whole number of 1 or more", _is_count(getattr(self, name), least=1))
                for name in ("batch_size", "epochs", "patience")
            ),
            ("standardize", self.standardize, "true or false", isinstance(self.standardize, bool | np.bool_)),
            ("random_state", self.random_state, "a whole number of 0 or more", _is_count(self.random_state, least=0)),
            *self.check_layers(),
        ]
        wrong = [f"{name} is {value!r}, expected {expected}" for name, value, expected, holds in problems if not holds]
        if wrong:
            raise HeadError(f"{type(self).__name__}: " + "; ".join(wrong))

    def check_layers(self) -> list[tuple[str, Any, str, bool]]:
        """Returns for each parameter of the hidden layers its name, its value, what is expected, and whether it is."""
        return []

    def fit(self, X: np.ndarray, y: np.ndarray, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Trains the head alone.

        Args:
            X: (n, ...) float32 features; maps are flattened.
            y: (n,) labels.
            validation_data: features and labels for early stopping; None runs all epochs.

        Raises:
            HeadError: a parameter is out of its range, the features are not finite, there is one class only, or the
                training diverged.
        """
        from featurebank.heads.trainer import train_together  # imports TensorFlow

        failure = train_together([self], X, y, validation_data)[0]
        if failure:
            raise HeadError(failure)
        return self

    def set_fitted(self, layers: list[Dense], classes: np.ndarray, history: History) -> None:
        """Takes the result of the trainer."""
        self.layers_, self.classes_, self.history_ = layers, classes, history
        self.n_features_in_ = layers[0].kernel.shape[0]

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`."""
        outputs = self._inputs(X)
        for layer in self.layers_[:-1]:
            outputs = activate(self.hidden_activation(), outputs @ layer.kernel + layer.bias)
        return softmax(outputs @ self.layers_[-1].kernel + self.layers_[-1].bias)


def _is_number(value: Any, *, above: float | None = None, below: float = np.inf) -> bool:
    """Tells whether a value is a number of 0 or more (or above `above`), and below `below`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    number = float(value)
    return number < below and (number >= 0 if above is None else number > above)


def _is_count(value: Any, *, least: int) -> bool:
    """Tells whether a value is a whole number of `least` or more."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least


def is_width(value: Any) -> bool:
    """Tells whether a value is the width of a layer."""
    return _is_count(value, least=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def activate(name: str, x: np.ndarray) -> np.ndarray:
    """Applies a hidden activation."""
    if name == "relu":
        return np.asarray(np.maximum(x, 0))
    if name == "tanh":
        return np.asarray(np.tanh(x))
    from scipy.special import erf

    return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(2, dtype=x.dtype))))
