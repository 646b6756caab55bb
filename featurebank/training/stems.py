"""What the stems of the heads on maps compute with, in numpy, in TensorFlow and in Keras alike."""

from __future__ import annotations

from typing import NamedTuple

GEM_FLOOR = 1e-6
"""Values below count as this: a power of a negative number is none."""


class Layer(NamedTuple):
    """One convolution."""

    filters: int
    kernel: int
    pool: int
    """Side of the windows of its max pooling; 1 for none."""


def kernel_name(number: int) -> str:
    """Returns the name of the kernel of a convolution."""
    return f"kernel_conv{number}" if number else "kernel0"


def edges(kernel: int, padding: str) -> tuple[int, int]:
    """Returns how many zeros are put before and after each side of a map."""
    return ((kernel - 1) // 2, kernel // 2) if padding == "same" else (0, 0)
