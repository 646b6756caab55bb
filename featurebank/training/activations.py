"""Activations and trained batch normalisation in numpy, with which a trained head predicts without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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


def normalization_terms(tensors: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and shift of a trained batch normalisation: it computes x * scale + shift.

    Args:
        tensors: with "gamma_NAME", "beta_NAME" and the moving averages "mean_NAME" and "variance_NAME".
        name: of the layer.
    """
    scale = tensors[f"gamma_{name}"] / np.sqrt(tensors[f"variance_{name}"] + np.float32(BATCH_NORM_EPSILON))
    return np.asarray(scale), np.asarray(tensors[f"beta_{name}"] - tensors[f"mean_{name}"] * scale)


def normalized_activation(
    activation: str, position: str, x: np.ndarray, tensors: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    """Applies an activation, and a trained batch normalisation before or after it.

    Args:
        activation: one of `ACTIVATIONS`.
        position: of batch normalisation: "before" or "after" the activation, "" for none.
        x: outputs of a layer, (..., units).
        tensors: see `normalization_terms`.
        name: of the layer.
    """
    if not position:
        return activate(activation, x)
    scale, shift = normalization_terms(tensors, name)
    if position == "before":
        return activate(activation, x * scale + shift)
    return np.asarray(activate(activation, x) * scale + shift)


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
"""The activations by their names in Keras."""
