"""Which dense heads can share a program, and training all of them, program by program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from featurebank.heads.joint_network import programs_of
from featurebank.heads.memory import COPIES
from featurebank.heads.neural.base import NeuralHead
from featurebank.heads.neural.network import DenseData, DenseNetwork, Validation
from featurebank.system.runtime import ram_limit
from featurebank.training.batches import OnHead
from featurebank.training.loop import train_programs

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

    found = programs(heads, (data.features,), len(data.classes))
    return train_programs(heads, data, found, lambda chosen: DenseNetwork(chosen, data), on_trained)


def programs(heads: Sequence[NeuralHead], shape: tuple[int, ...], classes: int, images: int = 0) -> list[list[int]]:
    """Returns the positions of the heads of each program.

    Args:
        heads: to be trained.
        shape: of one image's features.
        classes: how many there are.
        images: how many are trained on, which changes nothing.
    """

    def most(head: NeuralHead) -> int:
        sizes = (math.prod(shape), *head.layer_sizes(), classes)
        weights = sum((a + 1) * b for a, b in pairwise(sizes))
        return min(_MEMORY_BYTES, ram_limit() // 2) // (weights * 4 * COPIES)

    return programs_of(heads, most)
