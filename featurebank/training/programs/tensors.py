"""The tensors of K heads side by side, and one step with all of them."""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from featurebank.training.optimizers import Regularization, Rule, Slots, Step, take_step
from featurebank.training.weights import head_axis, is_kernel

Tensors = dict[str, Any]
"""Tensors by name; see `featurebank.training.weights`."""

Sizes = tuple[Any, ...]
"""The sizes of all arrays of a program; each set of them has a compiled function of its own."""


class Trained(Protocol):
    """What a step of the optimizer needs to know about the heads of a program."""

    @property
    def rule(self) -> Rule:
        """Update rule of the optimizer."""

    @property
    def max_norm(self) -> bool:
        """Whether the norms of kernels are limited."""


def per_head(values: Any, name: str, parameter: Any) -> Any:
    """Reshapes values (K,) so that they broadcast over the tensor of that name."""
    shape = [1] * parameter.shape.rank
    shape[head_axis(name)] = -1
    return tf.reshape(values, shape)


def updated(
    shape: Trained, params: Tensors, slots: dict[str, Slots], gradients: Tensors, rates: Any, options: Tensors,
    active: Any, number: Any,
) -> tuple[Tensors, dict[str, Slots]]:  # fmt: skip
    """Takes one step with the parameters of K heads.

    Args:
        shape: of the heads.
        params: before the step.
        slots: of the optimizer, before the step.
        gradients: of the sum of the heads' losses.
        rates: (K,) learning rates.
        options: of the heads.
        active: (K,) 1, or 0 for heads that keep their parameters.
        number: of the step, counted from 1.

    Returns:
        The parameters and slots after the step.
    """
    new_params, new_slots = {}, {}
    for name, p in params.items():
        rate, momentum, mask, decay = (
            per_head(v, name, p) for v in (rates, options["momentum"], active, options["weight_decay"])
        )
        regularization = Regularization(decay)
        if is_kernel(name):
            l1, l2, most = (per_head(options[option], name, p) for option in ("l1", "l2", "max_norm"))
            limit = most if shape.max_norm else None
            regularization = Regularization(decay, l1, l2, max_norm=limit, axes=[1 - head_axis(name)])
        at = Step(rate, momentum, number, mask)
        new_params[name], new_slots[name] = take_step(
            shape.rule, p, slots[name], gradients[name], at, regularization=regularization
        )
    return new_params, new_slots
