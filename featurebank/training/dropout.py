"""Dropout whose masks are hashes of head, step, layer and position, so that they do not depend on other heads."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def dropped(values: Any, rates: Any, layer: int, seeds: Any, steps: Any) -> Any:
    """Applies each head's dropout to its values; the values that remain are scaled up, as in Keras.

    Args:
        values: (K, ...) float32.
        rates: (K,) share of the values that are dropped.
        layer: number of the layer, which distinguishes the masks of one network.
        seeds: (K,) int32.
        steps: number of steps that are done.
    """
    rate = tf.reshape(rates, (-1,) + (1,) * (values.shape.rank - 1))
    keep = tf.cast(uniform(values, layer, seeds, steps) >= rate, values.dtype)
    return values * keep / (1 - rate)


def uniform(like: Any, layer: int, seeds: Any, steps: Any) -> Any:
    """Returns uniform numbers in [0, 1), each a hash of its head's seed, step, layer and position.

    Args:
        like: (K, ...), the shape of the numbers.
        layer: see `dropped`, as for the others.
        seeds: see `dropped`.
        steps: see `dropped`.

    References:
        The finalizer of MurmurHash3 (Austin Appleby, public domain), applied twice with the stream mixed in between.
    """
    inner, ones = tf.shape(like)[1:], (1,) * (like.shape.rank - 1)
    place = tf.reshape(tf.range(tf.reduce_prod(inner)), tf.concat([[1], inner], 0))
    stream = tf.cast(seeds, tf.uint32) * _u32(0x9E3779B1) + tf.cast(steps, tf.uint32) * _u32(0xC2B2AE3D)
    stream = tf.reshape(_mix(stream + _u32(0x27D4EB2F) * _u32(layer + 1)), (-1, *ones))
    bits = _mix(tf.bitwise.bitwise_xor(_mix(tf.cast(place, tf.uint32) + stream), stream))
    return tf.cast(tf.bitwise.right_shift(bits, _u32(8)), tf.float32) * 2.0**-24


def _mix(x: Any) -> Any:
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(16))) * _u32(0x85EBCA6B)
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(13))) * _u32(0xC2B2AE35)
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(16)))


def _u32(value: int) -> Any:
    return tf.constant(value & 0xFFFFFFFF, tf.uint32)
