"""Checks that `--ram` allows the memory that the training of a head needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurebank.errors import RamLimitError
from featurebank.system.runtime import ram_limit, tidy_bytes

COPIES = 5
"""The number of arrays of the size of the weights during a training: weights, gradients, two slots, best weights."""

UNCOUNTED = 64 << 20
"""The bytes that any head may use beside the features without a check: a tenth of what its libraries use."""


def check_memory(head: Any, images: int, shape: Sequence[int], classes: int, features: int) -> None:
    """Checks, by an estimate, that a head can be trained within `--ram`.

    Args:
        head: a head of any kind; its `working_bytes` estimates the memory beside the features.
        images: the number of training images.
        shape: the shape of one image's features.
        classes: the number of classes.
        features: the size in bytes of all features in memory.

    Raises:
        RamLimitError: features, weights, the optimizer's state and scores need more memory.
    """
    working = head.working_bytes(images, tuple(shape), classes)
    if working:
        check_bytes(type(head).__name__, working, features)


def check_bytes(what: str, working: int, features: int = 0) -> None:
    """Raises RamLimitError if the working memory and the features together need more bytes than `--ram` allows."""
    if working > UNCOUNTED and working + features > (limit := ram_limit()):
        parts = f"{tidy_bytes(working)} for weights, optimizer and scores, {tidy_bytes(features)} for features"
        message = (
            f"{what} needs {tidy_bytes(working + features)} of memory while it is trained ({parts}), more than the "
            f"{tidy_bytes(limit)} that --ram allows: use fewer units, classes or features, fewer images (--sample "
            "N), or a larger --ram"
        )
        raise RamLimitError(message)


def is_shortage(error: object) -> bool:
    """Returns whether an error means that memory ran out, so that another attempt may succeed."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's
