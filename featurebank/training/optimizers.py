"""The optimizers' update rules, element by element, as Keras 3 has them.

A rule takes a tensor of parameters, its slots and its gradient, and the learning rate and momentum of each element
(anything that broadcasts against it). As no rule looks beyond its element, tensors of several heads lie side by side.
Rules that do look beyond (clipping by norm, LAMB, Adafactor) have no place here.

References:
    Adam: Kingma, Ba, ICLR 2015, arXiv:1412.6980. AdamW: Loshchilov, Hutter, ICLR 2019, arXiv:1711.05101. RMSprop:
    Hinton, Srivastava, Swersky, "Neural Networks for Machine Learning", lecture 6, 2012. Adagrad: Duchi, Hazan,
    Singer, JMLR 12, 2011. Nesterov's momentum: Sutskever, Martens, Dahl, Hinton, ICML 2013.
"""

from __future__ import annotations

from collections.abc import Callable
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
        found: tuple[Any, Slots] = _RULES[self.name](self, parameter, slots, gradient, at)
        return found


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


def limited(kernel: Any, axes: list[int], most: Any) -> Any:
    """Returns kernels scaled so that the weights leading to one unit have a norm of at most `most`, as Keras's MaxNorm.

    Args:
        kernel: the weights.
        axes: along which the weights of one unit lie.
        most: the largest norm; it broadcasts against the kernel.
    """
    tf = import_tensorflow()
    norms = tf.sqrt(tf.reduce_sum(kernel * kernel, axes, keepdims=True))
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
