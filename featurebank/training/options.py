"""The options of a training by gradient descent, with their checks: for heads, and for the phases of a fine-tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.system.validation import ParameterCheck, choice, count, number, optional, switch
from featurebank.training.class_weights import ClassWeight, class_weight_check, weights_of_classes
from featurebank.training.monitors import monitor_check
from featurebank.training.optimizers import ADAMW_DECAY, OPTIMIZERS, WITH_MOMENTUM, Rule
from featurebank.training.schedules import SCHEDULES, Schedule


@dataclass(kw_only=True, eq=False)
class TrainingOptions:
    """How something is trained by gradient descent: optimizer, schedule, penalties, batches and when to stop.

    A head that is trained so inherits from this class, a phase of a fine-tune holds an instance. Instances are compared
    by identity, as heads are.

    Args:
        learning_rate: of the optimizer, before its schedule.
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad", with Keras's update rules and constants.
        momentum: of "sgd" and "rmsprop"; 0 for none.
        nesterov: whether the momentum of "sgd" is Nesterov's.
        weight_decay: share of each weight, times the learning rate, that is taken off at each step; by default 0,
            with "adamw" .004, as in Keras.
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
        max_norm: largest norm of the weights that lead to one unit, enforced after every step as by Keras's
            `constraints.MaxNorm`; None for no limit.
        label_smoothing: share of the target spread evenly over the classes.
        class_weight: "balanced" weighs each image by images / (classes * images of its class); a list has one number
            for each class, in the order of `classes_`; a dictionary has numbers by label, 1 for labels that it lacks;
            by default all count alike.
        batch_size: images a step.
        epochs: at most.
        patience: epochs without a better value of `monitor` before the head stops; its best weights are kept. Without
            validation data all epochs are run and the last weights kept.
        min_delta: by how much the value must get better to count for `patience` and as the best, as in Keras.
        monitor: "val_loss" (with label smoothing and penalties, as in Keras), "val_accuracy", or "val_" and the name of
            a metric of the validation images, as "val_balanced_accuracy", "val_auroc" or "val_recall:CLASS".
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
    class_weight: ClassWeight = None
    batch_size: int = 32
    epochs: int = 100
    patience: int = 10
    min_delta: float = 0.0
    monitor: str = "val_loss"
    standardize: bool = False
    random_state: int = 0

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all options; a subclass adds those of its own."""
        numbers = ("decay", "warmup", "plateau_floor", "l1", "l2", "min_delta")
        return [
            number("learning_rate", self.learning_rate, above=0),
            choice("optimizer", self.optimizer, OPTIMIZERS),
            choice("schedule", self.schedule, SCHEDULES),
            monitor_check(self.monitor),
            *(number(name, getattr(self, name), below=1) for name in ("momentum", "label_smoothing", "plateau_factor")),
            *(number(name, getattr(self, name)) for name in numbers),
            *(count(name, getattr(self, name)) for name in ("batch_size", "epochs", "patience", "plateau_patience")),
            *(switch(name, getattr(self, name)) for name in ("nesterov", "standardize")),
            optional(number("weight_decay", self.weight_decay)),
            optional(number("max_norm", self.max_norm, above=0)),
            count("random_state", self.random_state, least=0),
            class_weight_check(self.class_weight),
            *self._combinations(),
        ]

    def _combinations(self) -> list[ParameterCheck]:
        fits = not self.nesterov or (self.optimizer == "sgd" and bool(self.momentum))
        decays = self.schedule not in ("inverse_time", "exponential") or bool(self.decay)
        return [
            ParameterCheck("nesterov", self.nesterov, "false, or optimizer sgd with a momentum above 0", fits),
            ParameterCheck("decay", self.decay, f"a number above 0 with schedule {self.schedule}", decays),
        ]

    def rule(self) -> Rule:
        """Returns the optimizer's update rule."""
        momentum = bool(self.momentum) and self.optimizer in WITH_MOMENTUM
        return Rule(self.optimizer, momentum, bool(self.nesterov) and momentum)

    def decayed(self) -> float:
        """Returns `weight_decay`, or the optimizer's default where it is None."""
        if self.weight_decay is None:
            return ADAMW_DECAY if self.optimizer == "adamw" else 0.0
        return float(self.weight_decay)

    def scheduled(self) -> Schedule:
        """Returns the schedule of the learning rate."""
        return Schedule(float(self.learning_rate), self.schedule, float(self.decay), float(self.warmup), self.epochs)

    def class_weights(
        self,
        positions: np.ndarray,
        classes: int,
        labels: Sequence[Any] | None = None,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the weight of the images of each class (classes,).

        Args:
            positions: (n,) the index of the class of each training image.
            classes: number of classes.
            labels: of the classes, which a dictionary names.
            weights: (n,) sample weights, which "balanced" counts; None for 1 each.

        Raises:
            HeadInputError: `class_weight` does not fit the classes.
        """
        counts = np.bincount(positions, weights, minlength=classes)
        return weights_of_classes(self.class_weight, counts, labels)


def batch_norm_position(batch_norm: Any) -> str:
    """Returns the position of batch normalisation: "before" or "after" the activation, "" for none."""
    if isinstance(batch_norm, str):
        return batch_norm
    return "before" if batch_norm else ""
