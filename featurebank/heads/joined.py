"""Which dense heads can share a program, and training all of them, program by program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from featurebank.heads.dense import DenseData, DenseNetwork, Validation
from featurebank.heads.neural import NeuralHead
from featurebank.heads.trainer import train

_MEMORY_BYTES = 1 << 30
"""Parameters, slots and kept weights of the heads in one program stay below this; more heads are trained in turns."""

OnHead = Callable[[int, str | None, float, int], None]
"""Called with the position of a head as it stops, why it failed or None, its share of its program's seconds, and how
many heads the program held."""


def train_together(
    heads: Sequence[NeuralHead],
    X: np.ndarray,
    y: np.ndarray,
    validation_data: Validation | None = None,
    *,
    views: Sequence[np.ndarray] = (),
    on_trained: OnHead | None = None,
) -> list[str | None]:
    """Trains heads on the same features, each exactly as it would be trained alone.

    Args:
        heads: to be fitted in place.
        X: (n, ...) float32 features; maps are flattened.
        y: (n,) labels.
        validation_data: for early stopping; None runs all epochs.
        views: further views of the images of X, each like X: every epoch takes one of all views of each image.
        on_trained: called as soon as a head stops.

    Returns:
        For each head None, or in one line why it failed (that head is not fitted; the others are).

    Raises:
        HeadError: a parameter is out of its range, features are not finite, or there is only one class.
    """
    for head in heads:
        head.check()
    data = DenseData.of(X, y, validation_data, views)
    for head in heads:
        head.class_weights(data.y, len(data.classes))  # tells a list of another length before anything is trained
    failures: list[str | None] = [None] * len(heads)
    for positions in programs(heads, data.features, len(data.classes)):

        def told(k: int, failure: str | None, seconds: float, positions: list[int] = positions) -> None:
            failures[positions[k]] = failure
            if on_trained:
                on_trained(positions[k], failure, seconds, len(positions))

        chosen = [heads[i] for i in positions]
        train(chosen, DenseNetwork(chosen, data), told)
    return failures


def program_key(head: NeuralHead) -> tuple[Any, ...]:
    """Returns what heads of one program have in common.

    Beside the shape of layers and rules: the batch size and the seed, which decide the order of the images.
    """
    hidden = head.layer_sizes()
    drops_inputs = any(head.dropout_rates()) and not hidden
    return (
        hidden, head.hidden_activation() if hidden else "", head.normalization()[0], head.rule(), head.batch_size,
        head.standardize, head.random_state, drops_inputs, head.max_norm is None,
    )  # fmt: skip


def programs(heads: Sequence[NeuralHead], features: int, classes: int) -> list[list[int]]:
    """Returns the positions of the heads of each program.

    Args:
        heads: to be trained.
        features: the width of a row.
        classes: how many there are.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, head in enumerate(heads):
        groups.setdefault(program_key(head), []).append(position)
    found = []
    for positions in groups.values():
        sizes = (features, *heads[positions[0]].layer_sizes(), classes)
        weights = sum((a + 1) * b for a, b in pairwise(sizes))
        most = max(1, _MEMORY_BYTES // (weights * 4 * 5))  # parameters, two slots, kept ones, gradients
        found += [positions[start : start + most] for start in range(0, len(positions), most)]
    return found
