"""What the neural heads share: their options, their weights, and their answer in plain numpy.

A neural head is a stack of dense layers, the last one softmax. It is trained by `featurebank.heads.trainer`, alone or
together with others, and needs TensorFlow for that alone: a trained head predicts with three lines of numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.activations import activate, softmax
from featurebank.heads.base import Head
from featurebank.heads.checks import Check, choice, count, number, optional, refuse, switch
from featurebank.heads.layers import dense, flat
from featurebank.heads.memory import COPIES, JUDGED_ROWS, check_memory
from featurebank.heads.schedules import SCHEDULES, Schedule
from featurebank.heads.updates import ADAMW_DECAY, OPTIMIZERS, Rule
from featurebank.words import counted

MONITORS = ("val_loss", "val_accuracy")

_CLIPPING = (
    "it looks at all weights of a head at once, and joined heads take what acts on each weight alone: leave it out, or "
    "use max_norm or a smaller learning_rate"
)


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


@dataclass(kw_only=True, eq=False, repr=False)
class TrainedHead(Head):
    """Options of every head that is trained by gradient descent; follows scikit-learn's contract.

    Args:
        learning_rate: of the optimizer, before its schedule.
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad", with Keras's update rules and constants.
        momentum: of "sgd" and "rmsprop"; 0 for none.
        nesterov: whether the momentum of "sgd" is Nesterov's.
        weight_decay: share of each weight, times the learning rate, that is taken off at each step; None is 0, with
            "adamw" .004, as in Keras.
        schedule: "constant"; "inverse_time": learning_rate / (1 + decay * step); "exponential": learning_rate *
            decay ** epoch; "cosine": to 0 after `epochs`; "plateau": times `plateau_factor` after each
            `plateau_patience` epochs in which what is monitored got no better, not below `plateau_floor`.
        decay: of the schedules "inverse_time" and "exponential".
        warmup: epochs in which the learning rate rises from 0 before its schedule begins.
        plateau_factor: see `schedule`.
        plateau_patience: see `schedule`.
        plateau_floor: see `schedule`.
        l1: penalty l1 * sum(abs(kernel)) of each layer, added to the loss as Keras's `regularizers.L1` does.
        l2: penalty l2 * sum(kernel ** 2) of each layer, as Keras's `regularizers.L2`.
        max_norm: largest norm of the weights that lead to one unit, kept after every step as by Keras's
            `constraints.MaxNorm`; None is any.
        label_smoothing: share of the target spread evenly over the classes.
        class_weight: "balanced" weighs each image by images / (classes * images of its class); a list has one number
            for each class, in the order of `classes_`; None weighs all alike.
        batch_size: images a step.
        epochs: at most.
        patience: epochs without a better value of `monitor` before the head stops; its best weights are kept. Without
            validation data all epochs are run and the last weights kept.
        min_delta: by how much the value must get better to count for `patience`.
        monitor: "val_loss" (with label smoothing and penalties, as in Keras) or "val_accuracy".
        standardize: bring each feature to mean 0 and variance 1 over the training images; folded into the weights.
        random_state: seed of weights, batches, views and dropout.
    """

    learning_rate: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float | None = None
    schedule: str = "constant"
    decay: float = 0.0
    warmup: float = 0.0
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    plateau_floor: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    label_smoothing: float = 0.0
    class_weight: str | Sequence[float] | None = None
    batch_size: int = 32
    epochs: int = 100
    patience: int = 10
    min_delta: float = 0.0
    monitor: str = "val_loss"
    standardize: bool = False
    random_state: int = 0

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(("clipnorm", "global_clipnorm"), _CLIPPING)
    """Parameters that a user of Keras may expect, with the reason why there are none."""

    def check(self) -> None:
        """Raises HeadError where parameters are of a wrong type or out of their range; its message has all of them."""
        refuse(type(self).__name__, [*self._checks(), *self.check_layers()])

    def _checks(self) -> list[Check]:
        numbers = ("decay", "warmup", "plateau_floor", "l1", "l2", "min_delta")
        return [
            number("learning_rate", self.learning_rate, above=0),
            choice("optimizer", self.optimizer, OPTIMIZERS),
            choice("schedule", self.schedule, SCHEDULES),
            choice("monitor", self.monitor, MONITORS),
            *(number(name, getattr(self, name), below=1) for name in ("momentum", "label_smoothing", "plateau_factor")),
            *(number(name, getattr(self, name)) for name in numbers),
            *(count(name, getattr(self, name)) for name in ("batch_size", "epochs", "patience", "plateau_patience")),
            *(switch(name, getattr(self, name)) for name in ("nesterov", "standardize")),
            optional(number("weight_decay", self.weight_decay)),
            optional(number("max_norm", self.max_norm, above=0)),
            count("random_state", self.random_state, least=0),
            Check("class_weight", self.class_weight, '"balanced" or a list of numbers above 0', self._weighs_classes()),
            *self._combinations(),
        ]

    def _combinations(self) -> list[Check]:
        fits = not self.nesterov or (self.optimizer == "sgd" and bool(self.momentum))
        decays = self.schedule not in ("inverse_time", "exponential") or bool(self.decay)
        return [
            Check("nesterov", self.nesterov, "false, or optimizer sgd with a momentum above 0", fits),
            Check("decay", self.decay, f"a number above 0 with schedule {self.schedule}", decays),
        ]

    def _weighs_classes(self) -> bool:
        given = self.class_weight
        if isinstance(given, list | tuple):
            return bool(given) and all(number("", weight, above=0).holds for weight in given)
        return given is None or given == "balanced"

    def check_layers(self) -> list[Check]:
        """Returns the checks of a subclass's own parameters."""
        return []

    def rule(self) -> Rule:
        """Returns the optimizer's update rule."""
        momentum = bool(self.momentum) and self.optimizer in ("sgd", "rmsprop")
        return Rule(self.optimizer, momentum, bool(self.nesterov) and momentum)

    def decayed(self) -> float:
        """Returns the weight decay: the one given, else the optimizer's own."""
        if self.weight_decay is None:
            return ADAMW_DECAY if self.optimizer == "adamw" else 0.0
        return float(self.weight_decay)

    def scheduled(self) -> Schedule:
        """Returns the learning rate's schedule."""
        return Schedule(float(self.learning_rate), self.schedule, float(self.decay), float(self.warmup), self.epochs)

    def class_weights(self, positions: np.ndarray, classes: int) -> np.ndarray:
        """Returns the weight of the images of each class (classes,).

        Args:
            positions: (n,) which class each training image is of.
            classes: how many there are.

        Raises:
            HeadError: the list has another length.
        """
        if self.class_weight is None:
            return np.ones(classes)
        if isinstance(self.class_weight, str):
            return len(positions) / (classes * np.bincount(positions, minlength=classes))
        if len(self.class_weight) != classes:
            message = (
                f"class_weight has {counted(len(self.class_weight), 'number')}, the training images have "
                f"{counted(classes, 'class')}"
            )
            raise HeadError(message)
        return np.asarray(self.class_weight, np.float64)


def where(batch_norm: Any) -> str:
    """Returns where batch normalisation stands: "before" or "after" the activation, "" nowhere."""
    if isinstance(batch_norm, str):
        return batch_norm
    return "before" if batch_norm else ""


@dataclass(kw_only=True, eq=False, repr=False)
class NeuralHead(TrainedHead):
    """Base of the heads made of dense layers; a subclass tells its hidden layers by `layer_sizes`.

    Args:
        dropout: rate before the last layer and after each hidden one; a list has one for each of these places.
        learning_rate: see `TrainedHead`, as for all the others.
    """

    dropout: float | Sequence[float] = 0.0

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        raise NotImplementedError

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return "relu"

    def normalization(self) -> tuple[str, float]:
        """Returns where batch normalisation stands ("before" or "after" the activation, or ""), and its momentum."""
        return "", 0.0

    def dropout_rates(self) -> tuple[float, ...]:
        """Returns the rate before each layer but the first; of a head without hidden layers, before its only one."""
        if isinstance(self.dropout, Sequence):
            return tuple(map(float, self.dropout))
        return (float(self.dropout),) * max(1, len(self.layer_sizes()))

    def check_layers(self) -> list[Check]:
        """Returns the checks of a subclass's own parameters."""
        rates = self.dropout if isinstance(self.dropout, list | tuple) else [self.dropout]
        holds = all(number("", rate, below=1).holds for rate in rates)
        return [Check("dropout", self.dropout, "a number from 0 to below 1, or a list of them", holds)]

    def check(self) -> None:
        """Raises HeadError where parameters are of a wrong type or out of their range; its message has all of them."""
        super().check()
        places = max(1, len(self.layer_sizes()))
        if isinstance(self.dropout, list | tuple) and len(self.dropout) != places:
            message = f"{type(self).__name__}: dropout has {len(self.dropout)} rates, expected {places}"
            raise HeadError(message)

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained; see `featurebank.heads.memory`."""
        sizes = (math.prod(shape), *self.layer_sizes(), classes)
        weights = sum((inputs + 1) * units for inputs, units in pairwise(sizes))
        rows = max(min(int(self.batch_size), images), min(JUDGED_ROWS, images))
        return 4 * (COPIES * weights + images * sizes[0] + 3 * rows * sum(sizes[1:]))  # TensorFlow copies the features

    def fit(self, X: np.ndarray, y: np.ndarray, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Trains the head alone.

        Args:
            X: (n, ...) float32 features; maps are flattened.
            y: (n,) labels.
            validation_data: features and labels for early stopping; None runs all epochs.

        Raises:
            HeadError: a parameter is out of its range, the features are not finite, there is one class only, or the
                training diverged.
            RamLimitError: weights and features take more memory than `--ram` allows.
        """
        from featurebank.heads.joined import train_together  # imports TensorFlow

        self.check()
        check_memory(self, len(X), np.shape(X)[1:], len(np.unique(y)), np.asarray(X).nbytes)
        failure = train_together([self], X, y, validation_data)[0]
        if failure:
            raise HeadError(failure)
        return self

    def set_fitted(self, layers: list[Dense], classes: np.ndarray, history: History) -> None:
        """Takes the result of the training."""
        self.layers_, self.classes_, self.history_ = layers, classes, history
        self.n_features_in_ = layers[0].kernel.shape[0]

    @property
    def n_parameters_(self) -> int:
        """How many numbers the trained head holds."""
        return sum(layer.kernel.size + layer.bias.size for layer in self.layers_)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph as dense layers; see `Head.keras_layers_`."""
        outputs = flat(tensor)
        for place, layer in enumerate(self.layers_[:-1]):
            outputs = dense(outputs, layer.kernel, layer.bias, f"head_dense{place}", self.hidden_activation())
        return dense(outputs, self.layers_[-1].kernel, self.layers_[-1].bias, "head_logits")

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`."""
        outputs = self._inputs(X)
        for layer in self.layers_[:-1]:
            outputs = activate(self.hidden_activation(), outputs @ layer.kernel + layer.bias)
        return softmax(outputs @ self.layers_[-1].kernel + self.layers_[-1].bias)
