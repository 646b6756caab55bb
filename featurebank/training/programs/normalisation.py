"""Batch normalisation of K heads at once: forward, and the moving averages that a trained head uses.

References:
    Ioffe, Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from featurebank.training.activations import BATCH_NORM_EPSILON
from featurebank.training.programs.tensors import Tensors


def normalized(x: Any, name: str, params: Tensors, statistics: tuple[Any, Any]) -> Any:
    """Normalises the outputs of a layer.

    Args:
        x: (K, b, ..., units).
        name: of the layer in the names of tensors.
        params: with the layer's gamma and beta, (K, units) each.
        statistics: means and variances to normalise by, (K, units) each.
    """
    per_unit = (x.shape[0], *(1,) * (x.shape.rank - 2), x.shape[-1])
    mean, variance = statistics
    scale = params[f"gamma_{name}"] / tf.sqrt(variance + BATCH_NORM_EPSILON)
    shift = tf.reshape(params[f"beta_{name}"], per_unit)
    return (x - tf.reshape(mean, per_unit)) * tf.reshape(scale, per_unit) + shift


def batch_statistics(x: Any, weights: Any) -> tuple[Any, Any]:
    """Returns the means and variances (K, units) of a batch over its images, and over the places of maps.

    Args:
        x: (K, b, ..., units).
        weights: (b,) of the images, 0 for padding.
    """
    inner = (1,) * (x.shape.rank - 2)
    axes = tuple(range(1, x.shape.rank - 1))
    places = x.shape[2:-1].num_elements()
    share = tf.reshape(weights / (tf.reduce_sum(weights) * places), (1, -1, *inner))
    mean = tf.reduce_sum(x * share, axes)
    per_unit = tf.reshape(mean, (x.shape[0], *inner, x.shape[-1]))
    return mean, tf.reduce_sum(tf.square(x - per_unit) * share, axes)


def moved(moving: Tensors, seen: Tensors, momentum: Any, active: Any) -> Tensors:
    """Returns the moving averages after a batch.

    Args:
        moving: before the batch.
        seen: means and variances of the batch, by the same names.
        momentum: (K,) share of the old averages that stays.
        active: (K,) 1, or 0 for heads whose averages stay as they are.
    """
    share = ((1 - momentum) * active)[:, None]
    return {name: value + (seen[name] - value) * share for name, value in moving.items()}
