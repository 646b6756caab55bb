"""One step of an optimizer: its update rule, element by element as in Keras 3, with penalties, decay and limits.

A rule takes a tensor of parameters, its slots and its gradient, and the learning rate and momentum of each element
(anything that broadcasts against it). As no rule looks beyond its element, the tensors of several heads can lie side by
side. Rules that do look beyond it (clipping by norm, LAMB, Adafactor) have no place here.

References:
    Adam: Kingma, Ba, ICLR 2015, arXiv:1412.6980. AdamW: Loshchilov, Hutter, ICLR 2019, arXiv:1711.05101. RMSprop:
    Hinton, Srivastava, Swersky, "Neural Networks for Machine Learning", lecture 6, 2012. Adagrad: Duchi, Hazan,
    Singer, JMLR 12, 2011. Nesterov's momentum: Sutskever, Martens, Dahl, Hinton, ICML 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from featurebank.system.runtime import import_tensorflow

_EPSILON = 1e-7
_MAX_NORM_EPSILON = 1e-7
_BETA_1, _BETA_2 = 0.9, 0.999
_RHO = 0.9
_FIRST_ACCUMULATOR = 0.1
"""Keras's defaults."""

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad")
WITH_MOMENTUM = ("sgd", "rmsprop")
ADAMW_DECAY = 0.004
"""Keras's default weight decay of AdamW; the others have none."""

Slots = tuple[Any, ...]


@dataclass(frozen=True)
class Rule:
    """The part of an optimizer that decides which operations a program has.

    Args:
        name: one of `OPTIMIZERS`.
        momentum: whether "sgd" or "rmsprop" use momentum.
        nesterov: whether the momentum of "sgd" is Nesterov's.
    """

    name: str
    momentum: bool = False
    nesterov: bool = False

    def empty_slots(self, parameter: Any) -> Slots:
        """Returns the slots of a parameter before the first step."""
        tf = import_tensorflow()
        if self.name == "adagrad":
            return (tf.fill(tf.shape(parameter), _FIRST_ACCUMULATOR),)
        count = {"adam": 2, "adamw": 2, "sgd": 0, "rmsprop": 1}[self.name] + self._keeps_momentum
        return tuple(tf.zeros_like(parameter) for _ in range(count))

    @property
    def _keeps_momentum(self) -> bool:
        return self.momentum and self.name in WITH_MOMENTUM

    def update(self, parameter: Any, slots: Slots, gradient: Any, at: Step) -> tuple[Any, Slots]:
        """Takes one step; returns the parameter and its slots afterwards."""
        result: tuple[Any, Slots] = _RULES[self.name](self, parameter, slots, gradient, at)
        return result


class Step(NamedTuple):
    """The inputs of a step beside the gradient; each one broadcasts against the parameter."""

    rate: Any
    """Learning rate, 0 where `active` is 0."""
    momentum: Any
    """Momentum of "sgd" and "rmsprop"."""
    number: Any
    """Counted from 1."""
    active: Any
    """1 where a parameter is updated, 0 where it stays as it is."""


class Regularization(NamedTuple):
    """What changes a parameter in a step beside the optimizer's rule; each value broadcasts against the parameter."""

    weight_decay: Any
    """Share of the parameter, times the learning rate, that is taken off before the rule is applied, as Keras does."""
    l1: Any = None
    """Penalty l1 * sum(abs(parameter)) of the loss; None for none."""
    l2: Any = None
    """Penalty l2 * sum(parameter ** 2) of the loss; None for none."""
    start: Any = None
    """The value that the parameter started from, if leaving it is penalised."""
    l2_sp: Any = None
    """Penalty l2_sp * sum((parameter - start) ** 2) of the loss."""
    max_norm: Any = None
    """Largest norm of the weights that lead to one unit, enforced after the step; None for no limit."""
    axes: Sequence[int] = ()
    """Axes along which the weights of one unit lie."""


def take_step(
    rule: Rule, parameter: Any, slots: Slots, gradient: Any, at: Step, *, regularization: Regularization
) -> tuple[Any, Slots]:
    """Takes one whole step with a parameter: penalties, weight decay, the optimizer's rule and the limit of norms.

    Args:
        rule: of the optimizer.
        parameter: before the step.
        slots: of the optimizer, before the step.
        gradient: of the loss without its penalties, whose gradients are added here: they cost no pass of their own.
        at: learning rate, momentum and number of the step.
        regularization: of this parameter.

    Returns:
        The parameter and its slots after the step.
    """
    tf, extra = import_tensorflow(), regularization
    if extra.l1 is not None:
        gradient += extra.l1 * tf.sign(parameter) + 2 * extra.l2 * parameter
    if extra.start is not None:
        gradient += 2 * extra.l2_sp * (parameter - extra.start)
    parameter -= parameter * extra.weight_decay * at.rate
    parameter, slots = rule.update(parameter, slots, gradient, at)
    if extra.max_norm is not None:
        parameter = _limited(parameter, extra.axes, extra.max_norm)
    return parameter, slots


def _limited(kernel: Any, axes: Sequence[int], most: Any) -> Any:
    """Scales kernels so that the weights leading to one unit have a norm of at most `most`, as Keras's MaxNorm."""
    tf = import_tensorflow()
    norms = tf.sqrt(tf.reduce_sum(kernel * kernel, list(axes), keepdims=True))
    return kernel * (tf.minimum(norms, most) / (_MAX_NORM_EPSILON + norms))


def _adam(rule: Rule, p: Any, slots: Slots, g: Any, at: Step) -> tuple[Any, Slots]:
    tf = import_tensorflow()
    mean, square = slots
    mean = mean + (g - mean) * (1 - _BETA_1)
    square = square + (g * g - square) * (1 - _BETA_2)
    rate = at.rate * tf.sqrt(1 - _BETA_2**at.number) / (1 - _BETA_1**at.number)
    return p - rate * mean / (tf.sqrt(square) + _EPSILON), (mean, square)


def _sgd(rule: Rule, p: Any, slots: Slots, g: Any, at: Step) -> tuple[Any, Slots]:
    if not rule.momentum:
        return p - at.rate * g, ()
    velocity = at.momentum * slots[0] - at.rate * g
    move = at.momentum * velocity - at.rate * g if rule.nesterov else velocity
    return p + at.active * move, (velocity,)


def _rmsprop(rule: Rule, p: Any, slots: Slots, g: Any, at: Step) -> tuple[Any, Slots]:
    tf = import_tensorflow()
    square = _RHO * slots[0] + (1 - _RHO) * g * g
    move = at.rate * g / tf.sqrt(square + _EPSILON)
    if not rule.momentum:
        return p - move, (square,)
    velocity = at.momentum * slots[1] + move
    return p - at.active * velocity, (square, velocity)


def _adagrad(rule: Rule, p: Any, slots: Slots, g: Any, at: Step) -> tuple[Any, Slots]:
    tf = import_tensorflow()
    total = slots[0] + g * g
    return p - at.rate * g / tf.sqrt(total + _EPSILON), (total,)


_RULES: dict[str, Callable[..., Any]] = {
    "adam": _adam,
    "adamw": _adam,  # weight decay is not part of a rule: every optimizer takes it
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
}
