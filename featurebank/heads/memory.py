"""How much memory the training of a head takes, and whether `--ram` allows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurebank.errors import RamLimitError
from featurebank.system.runtime import ram_limit, tidy_bytes

COPIES = 5
"""How often the weights of a head are in memory while it is trained: gradients, an optimizer's two slots, the best."""

UNCOUNTED = 64 << 20
"""Bytes that any head may take beside the features: a tenth of what its libraries take."""


def check_memory(head: Any, images: int, shape: Sequence[int], classes: int, features: int) -> None:
    """Checks that a head can be trained within `--ram`, as far as that can be told before.

    Args:
        head: of any kind; its `working_bytes(images, shape, classes)` says what it needs beside the features.
        images: how many it is trained on.
        shape: of the features of one image.
        classes: how many there are.
        features: bytes of all features that are in memory.

    Raises:
        RamLimitError: features, weights, the optimizer's state and scores take more.
    """
    working = head.working_bytes(images, tuple(shape), classes)
    if working:
        check_bytes(type(head).__name__, working, features)


def check_bytes(what: str, working: int, features: int = 0) -> None:
    """Raises RamLimitError where something needs more bytes, beside those of the features, than `--ram` allows."""
    if working > UNCOUNTED and working + features > (limit := ram_limit()):
        parts = f"{tidy_bytes(working)} for weights, optimizer and scores, {tidy_bytes(features)} for features"
        message = (
            f"{what} takes {tidy_bytes(working + features)} in memory while it is trained ({parts}), more than the "
            f"{tidy_bytes(limit)} that --ram allows: take fewer units, classes or features, or a larger --ram"
        )
        raise RamLimitError(message)


def is_shortage(error: object) -> bool:
    """Tells whether an error says that memory is short, which may be otherwise at the next try."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's
