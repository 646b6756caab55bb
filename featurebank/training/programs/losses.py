"""The losses of K heads at once: cross-entropy with smoothed labels and class weights, penalties, right answers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensors = dict[str, Any]
"""By name and layer: "kernel0", "bias0" (none before batch normalisation, which takes every constant off again), with
batch normalisation "gamma0", "beta0" (trained) and "mean0", "variance0" (moving). The first kernel is (d, K, h), so
that it is one matrix without being moved; all others have the heads first: biases and the like (K, h), later kernels
(K, h, h')."""


def head_axis(name: str) -> int:
    """Returns which axis of a tensor counts the heads."""
    return 1 if name == "kernel0" else 0


def mean_losses(logits: Any, labels: Any, weights: Any, options: Tensors) -> tuple[Any, Any]:
    """Returns the mean cross-entropy of each head for logits (K, b, classes), smoothed and weighed by class.

    Returns:
        The mean cross-entropy (K,), and the summed weights of the images that are judged right (K,).
    """
    each = weights * tf.gather(options["class_weight"], labels, axis=1)
    losses = tf.reduce_sum(_cross_entropies(logits, labels, options) * each, 1) / tf.reduce_sum(weights)
    return losses, _right(logits, labels, weights)


def judged(logits: Any, labels: Any, weights: Any, options: Tensors) -> tuple[Any, Any]:
    """Returns the summed cross-entropy, smoothed, and right answers of each head, (K,) each; see `mean_losses`.

    As in Keras, class weights are those of training alone.
    """
    losses = _cross_entropies(logits, labels, options)
    return tf.reduce_sum(losses * weights, 1), _right(logits, labels, weights)


def penalties(params: Tensors, options: Tensors) -> Any:
    """Returns l1 * sum(abs(kernel)) + l2 * sum(kernel ** 2) over all kernels of each head (K,)."""
    total = tf.zeros_like(options["l1"])
    for name, p in params.items():
        if name.startswith("kernel"):
            axes = [axis for axis in range(p.shape.rank) if axis != head_axis(name)]
            total += options["l1"] * tf.reduce_sum(tf.abs(p), axes) + options["l2"] * tf.reduce_sum(tf.square(p), axes)
    return total


def _cross_entropies(logits: Any, labels: Any, options: Tensors) -> Any:
    """Returns the cross-entropy (K, b) of logits (K, b, classes) with smoothed labels."""
    smoothing = options["label_smoothing"][:, None, None]
    targets = tf.one_hot(labels, logits.shape[-1])[None] * (1 - smoothing) + smoothing / logits.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def _right(logits: Any, labels: Any, weights: Any) -> Any:
    """Returns the summed weights of the images that each head judges right (K,)."""
    repeated = tf.broadcast_to(labels, tf.shape(logits)[:2])
    hits = tf.cast(tf.argmax(logits, -1, tf.int32) == repeated, tf.float32)
    return tf.reduce_sum(hits * weights, 1)
