"""The functions between the layers, in numpy: a trained head answers without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BATCH_NORM_EPSILON = 1e-3
"""Keras's default."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def activate(name: str, x: np.ndarray) -> np.ndarray:
    """Applies one of `ACTIVATIONS`, as Keras defines it."""
    return np.asarray(ACTIVATIONS[name](x))


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(2, dtype=x.dtype))))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "leaky_relu": lambda x: np.where(x > 0, x, np.float32(0.2) * x),
    "sigmoid": _sigmoid,
    "linear": lambda x: x,
}
"""By the names of Keras."""
