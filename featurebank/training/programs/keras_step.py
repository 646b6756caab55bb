"""One training step of a Keras model: TensorFlow for the layers, XLA for the optimizer.

Layered heads and fine-tunes train with it. The convolutions of TensorFlow are faster than those of XLA on a processor;
the optimizer's dozen element-wise operations are one XLA program, which passes over the weights once instead of ten
times. Batch normalisation is that of the Keras layers: a layer that is trained normalises by the batch and moves its
averages, one that is frozen does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from featurebank.training.optimizers import Regularization, Step, take_step
from featurebank.training.options import TrainingOptions
from featurebank.training.programs.compilation import CompiledFunction
from featurebank.training.programs.losses import cross_entropies, hits


@dataclass(frozen=True)
class TrainedVariable:
    """A variable that is trained, and what it does not share with the others."""

    variable: Any
    """A `tf.Variable`."""
    rate: float = 1.0
    """Factor of its learning rate."""
    kernel: bool = False
    """Whether penalties and the limit of norms act on it."""
    start: Any | None = None
    """The value that it started from, if leaving it is penalised."""


class KerasStep:
    """The training step of a model, with the optimizer's slots.

    Args:
        model: images or maps -> logits (b, classes).
        variables: what is trained.
        options: optimizer, label smoothing and penalties.
        class_weights: (classes,) weights of the images of each class.
        dtype: of the model's inputs as they are passed to `step`; the model gets them as float32.
        clipnorm: largest norm of all gradients together; None for no limit.
        l2_sp: penalty l2_sp * sum((weight - its start) ** 2) of variables that have a start.
    """

    def __init__(
        self, model: Any, variables: Sequence[TrainedVariable], options: TrainingOptions, class_weights: np.ndarray, *,
        dtype: Any = tf.float32, clipnorm: float | None = None, l2_sp: float = 0.0,
    ) -> None:  # fmt: skip
        self._variables, self._options, self._clipnorm, self._l2_sp = variables, options, clipnorm, l2_sp
        self._rule, self._weights = options.rule(), class_weights.astype(np.float32)
        self.slots = [[tf.Variable(slot) for slot in self._rule.empty_slots(v.variable)] for v in variables]
        batch = tf.TensorSpec((None, *model.input.shape[1:]), dtype), tf.TensorSpec((None,), tf.int32)
        weights, scalar = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)
        self._step = self._stepping(model).get_concrete_function(*batch, weights, scalar, scalar)

    def step(
        self, x: np.ndarray, labels: np.ndarray, rate: float, number: int, sample_weights: np.ndarray | None = None
    ) -> tuple[float, float]:
        """Takes one step.

        Args:
            x: (b, ...) a batch of any size.
            labels: (b,) int32.
            rate: learning rate.
            number: of the step, counted from 1.
            sample_weights: (b,) float32 factors of the images' losses; None for 1 each.

        Returns:
            The mean loss before the step, with label smoothing, class weights and penalties, and the number of images
            that were classified correctly.
        """
        weights = self._weights[labels] if sample_weights is None else self._weights[labels] * sample_weights
        loss, right = self._step(
            tf.constant(x), tf.constant(labels), tf.constant(weights), tf.constant(rate, tf.float32),
            tf.constant(number, tf.float32),
        )  # fmt: skip
        return float(loss), float(right)

    def reset(self) -> None:
        """Sets the optimizer's slots as they were before the first step."""
        for trained, slots in zip(self._variables, self.slots, strict=True):
            for slot, value in zip(slots, self._rule.empty_slots(trained.variable), strict=True):
                slot.assign(value)

    def penalty(self) -> Any:
        """Returns the penalties on the weights: a float32 scalar. Their gradients are added by `take_step`."""
        options, total = self._options, tf.constant(0.0)
        for trained in self._variables:
            if trained.kernel and options.l1:
                total += options.l1 * tf.reduce_sum(tf.abs(trained.variable))
            if trained.kernel and options.l2:
                total += options.l2 * tf.reduce_sum(tf.square(trained.variable))
            if trained.start is not None:
                total += self._l2_sp * tf.reduce_sum(tf.square(trained.variable - trained.start))
        return total

    def _stepping(self, model: Any) -> Any:
        variables, smoothing = [trained.variable for trained in self._variables], float(self._options.label_smoothing)
        change = self._changing()

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def step(x: Any, labels: Any, weights: Any, rate: Any, number: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                logits = tf.cast(model(tf.cast(x, tf.float32), training=True), tf.float32)
                loss = tf.reduce_mean(cross_entropies(logits, labels, smoothing) * weights)
            penalized = loss + self.penalty()
            change(tape.gradient(loss, variables), rate, number)
            return penalized, tf.reduce_sum(hits(logits, labels))

        return step

    def _changing(self) -> Callable[..., None]:
        """Returns the program of the optimizer's step, which changes the variables in place."""
        momentum, active = tf.constant(float(self._options.momentum)), tf.constant(1.0)
        regularizations = [self._regularization(trained) for trained in self._variables]

        @CompiledFunction
        def change(gradients: list[Any], rate: Any, number: Any) -> None:
            if self._clipnorm is not None:
                gradients = _clipped(gradients, self._clipnorm)
            for trained, slots, gradient, regularization in zip(
                self._variables, self.slots, gradients, regularizations, strict=True
            ):
                p, before = tf.convert_to_tensor(trained.variable), tuple(map(tf.convert_to_tensor, slots))
                at = Step(rate * trained.rate, momentum, number, active)
                p, after = take_step(self._rule, p, before, gradient, at, regularization=regularization)
                trained.variable.assign(p)
                for slot, value in zip(slots, after, strict=True):
                    slot.assign(value)

        return change

    def _regularization(self, trained: TrainedVariable) -> Regularization:
        options = self._options
        terms = Regularization(options.decayed(), start=trained.start, l2_sp=self._l2_sp)
        if not trained.kernel:
            return terms
        if options.l1 or options.l2:
            terms = terms._replace(l1=options.l1, l2=options.l2)
        return terms._replace(max_norm=options.max_norm, axes=range(trained.variable.shape.rank - 1))


def seed_states(model: Any) -> list[Any]:
    """Returns the states of a model's generators of random numbers, which its dropout has, in order."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights and "seed" in variable.path]


def seed_dropout(model: Any, seed: int) -> None:
    """Makes the dropout of a model depend on a seed alone: Keras takes another one in each process."""
    for number, state in enumerate(seed_states(model)):
        state.assign(np.array([(seed * 1000 + number) % 2**32, 0], np.uint32))


def evaluation(model: Any, smoothing: float) -> Callable[[np.ndarray, np.ndarray], tuple[float, float]]:
    """Returns the program that gives a batch's summed cross-entropy, smoothed, and its number of right answers.

    Args:
        model: maps -> logits (b, classes).
        smoothing: share of the target that is spread evenly over the classes.
    """
    signature = [tf.TensorSpec((None, *model.input.shape[1:]), tf.float32), tf.TensorSpec((None,), tf.int32)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def evaluate(x: Any, labels: Any) -> tuple[Any, Any]:
        logits = model(x, training=False)
        return tf.reduce_sum(cross_entropies(logits, labels, smoothing)), tf.reduce_sum(hits(logits, labels))

    def on_batch(x: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        loss, right = evaluate(tf.constant(x), tf.constant(labels))
        return float(loss), float(right)

    return on_batch


def prediction(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the program that gives a batch's probabilities (b, classes).

    Args:
        model: maps -> logits (b, classes).
    """
    signature = [tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def predict(x: Any) -> Any:
        return tf.nn.softmax(model(x, training=False))

    return lambda x: np.asarray(predict(tf.constant(x)).numpy())


def _clipped(gradients: Sequence[Any], largest: float) -> list[Any]:
    """Scales gradients so that the norm of all of them together is at most `largest`."""
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(gradient * gradient) for gradient in gradients]))
    return [gradient * tf.minimum(1.0, largest / (norm + 1e-12)) for gradient in gradients]
