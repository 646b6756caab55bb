"""Which dense heads can share a program, and training all of them, program by program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from featurebank.heads.memory import COPIES
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.network import DenseData, DenseNetwork, Validation
from featurebank.system.runtime import ram_limit
from featurebank.training.batches import OnHead
from featurebank.training.loop import train_at, train_programs

_MEMORY_BYTES = 1 << 30
"""Parameters, slots and kept weights of the heads in one program stay below this, and below half of `--ram`; more heads
are trained in turns."""


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

    def train_program(positions: list[int], told: OnHead) -> None:
        train_at(positions, heads, lambda chosen: DenseNetwork(chosen, data), told)

    return train_programs(heads, data, programs(heads, (data.features,), len(data.classes)), train_program, on_trained)


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


def programs(heads: Sequence[NeuralHead], shape: tuple[int, ...], classes: int, images: int = 0) -> list[list[int]]:
    """Returns the positions of the heads of each program.

    Args:
        heads: to be trained.
        shape: of one image's features.
        classes: how many there are.
        images: how many are trained on, which changes nothing.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, head in enumerate(heads):
        groups.setdefault(program_key(head), []).append(position)
    found = []
    for positions in groups.values():
        sizes = (math.prod(shape), *heads[positions[0]].layer_sizes(), classes)
        weights = sum((a + 1) * b for a, b in pairwise(sizes))
        most = max(1, min(_MEMORY_BYTES, ram_limit() // 2) // (weights * 4 * COPIES))
        found += [positions[start : start + most] for start in range(0, len(positions), most)]
    return found
