"""Dropout whose masks are a function of head, step, layer and place: the same alone and in company."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def dropped(values: Any, rates: Any, layer: int, seeds: Any, steps: Any) -> Any:
    """Applies each head's dropout to its values; what is kept is scaled, as Keras does.

    Args:
        values: (K, ...).
        rates: (K,).
        layer: tells the places of one network apart.
        seeds: (K,) int32.
        steps: how many were done.
    """
    rate = tf.reshape(rates, (-1,) + (1,) * (values.shape.rank - 1))
    keep = tf.cast(uniform(values, layer, seeds, steps) >= rate, values.dtype)
    return values * keep / (1 - rate)


def uniform(like: Any, layer: int, seeds: Any, steps: Any) -> Any:
    """Returns numbers in [0, 1) shaped like (K, ...), each a hash of head's seed, step, layer and place.

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
