"""Losses and right answers: cross-entropy with smoothed labels, of one network and of K heads at once; penalties."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from featurebank.training.programs.tensors import Tensors
from featurebank.training.weights import head_axis, is_kernel


def cross_entropies(logits: Any, labels: Any, smoothing: Any) -> Any:
    """Returns the cross-entropy of each image with smoothed labels.

    Args:
        logits: (b, classes) of one network, or (K, b, classes) of K heads.
        labels: (b,) int32.
        smoothing: share of the target that is spread evenly over the classes; (K, 1, 1) where heads differ in it.

    Returns:
        (b,), or (K, b).
    """
    targets = tf.one_hot(labels, logits.shape[-1]) * (1 - smoothing) + smoothing / logits.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def hits(logits: Any, labels: Any) -> Any:
    """Returns 1 for each image that is classified correctly and 0 for the others: float32, (b,) or (K, b)."""
    repeated = tf.broadcast_to(labels, tf.shape(logits)[:-1])
    return tf.cast(tf.argmax(logits, -1, tf.int32) == repeated, tf.float32)


def mean_losses(
    logits: Any, labels: Any, weights: Any, options: Tensors, sample_weights: Any = None
) -> tuple[Any, Any]:
    """Returns the training loss of K heads over a batch, with label smoothing, class weights and sample weights.

    Weights are factors of the images' losses, whose sum is divided by the number of images, as in Keras.

    Args:
        logits: (K, b, classes).
        labels: (b,) int32.
        weights: (b,) of the images, 0 for padding.
        options: of the heads.
        sample_weights: (b,) factors that the user gave; None for 1 each.

    Returns:
        The mean cross-entropy (K,), and the summed weights of the images that are classified correctly (K,).
    """
    each = weights * tf.gather(options["class_weight"], labels, axis=1)
    if sample_weights is not None:
        each *= sample_weights
    losses = tf.reduce_sum(_of_heads(logits, labels, options) * each, 1) / tf.reduce_sum(weights)
    return losses, tf.reduce_sum(hits(logits, labels) * weights, 1)


def summed_losses(logits: Any, labels: Any, weights: Any, options: Tensors) -> tuple[Any, Any]:
    """Returns the summed cross-entropy, smoothed, and the right answers of K heads, (K,) each; see `mean_losses`.

    There are no class weights in it: as in Keras, they act in training alone.
    """
    losses = tf.reduce_sum(_of_heads(logits, labels, options) * weights, 1)
    return losses, tf.reduce_sum(hits(logits, labels) * weights, 1)


def penalties(params: Tensors, options: Tensors) -> Any:
    """Returns l1 * sum(abs(kernel)) + l2 * sum(kernel ** 2) over all kernels of each head (K,)."""
    total = tf.zeros_like(options["l1"])
    for name, p in params.items():
        if is_kernel(name):
            axes = [axis for axis in range(p.shape.rank) if axis != head_axis(name)]
            total += options["l1"] * tf.reduce_sum(tf.abs(p), axes) + options["l2"] * tf.reduce_sum(tf.square(p), axes)
    return total


def _of_heads(logits: Any, labels: Any, options: Tensors) -> Any:
    return cross_entropies(logits, labels, options["label_smoothing"][:, None, None])
