"""The compiled program that trains K heads of one shape at once.

The algebra. K heads see the same batch x (b, d). Their first kernels W_1 .. W_K (d, h) stand side by side as one matrix
(d, K h), so that x [W_1 .. W_K] is one large product instead of K small ones; later layers are a batched product over
(K, h, h'). The loss is the SUM over heads of each one's mean cross-entropy. A head's loss does not depend on another's
weights, so the gradient of the sum with respect to W_k is exactly the gradient of loss k alone; and as the update
rules work element by element, with the rate and the rest of head k broadcast over its own weights, every head takes
exactly the steps it would take alone. Dropout keeps this: a mask is a hash of (seed of the head, step, layer,
position), not drawn from a stream that the heads share.

A whole epoch is one XLA program, which turns the optimizer's dozen element-wise operations into one pass over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import tensorflow as tf

ADAM_BETA_1, ADAM_BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-7
"""Keras's defaults."""

Tensors = list[Any]
"""Kernel and bias of each layer in turn. The first kernel is (d, K, h), so that it is one matrix without being moved;
all others have the heads first: biases (K, h), later kernels (K, h, h')."""


@dataclass(frozen=True)
class Shape:
    """What the heads of one program have in common, beside the sizes of their arrays."""

    activation: str
    optimizer: str
    dropout: bool
    """Whether any of them drops units at all."""


@cache
def epoch_program(shape: Shape) -> Callable[..., tuple[Tensors, Tensors, Any, Any]]:
    """Returns the program of one epoch; it is compiled once for each set of array sizes.

    It takes features X (n, d), labels y (n,), the batches as row numbers (steps, b) and their weights (steps, b) (0 for
    padding), the parameters and the optimizer's slots, the heads' options (K,) each, which heads are still active (K,)
    and the number of steps done. It returns parameters, slots, steps and the mean loss of each head (K,).
    """

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def epoch(
        X: Any, y: Any, rows: Any, weights: Any, params: Tensors, slots: Tensors, options: dict[str, Any],
        active: Any, steps: Any,
    ) -> tuple[Tensors, Tensors, Any, Any]:  # fmt: skip
        def body(i: Any, params: Tensors, slots: Tensors, steps: Any, total: Any) -> tuple[Any, ...]:
            x, labels = tf.gather(X, rows[i]), tf.gather(y, rows[i])
            with tf.GradientTape() as tape:
                tape.watch(params)
                losses = _losses(shape, x, labels, weights[i], params, options, steps)
                objective = tf.reduce_sum(losses + options["l2"] * _squares(params))
            gradients = tape.gradient(objective, params)
            params, slots = _update(shape.optimizer, params, slots, gradients, options, active, steps + 1)
            return i + 1, params, slots, steps + 1, total + losses * tf.reduce_sum(weights[i])

        start = (0, params, slots, steps, tf.zeros_like(active))
        _, params, slots, steps, total = tf.while_loop(lambda i, *_: i < tf.shape(rows)[0], body, start)
        return params, slots, steps, total / tf.reduce_sum(weights)

    return epoch  # type: ignore[no-any-return]


@cache
def evaluation_program(activation: str) -> Callable[[Any, Any, Tensors], tuple[Any, Any]]:
    """Returns the program that gives each head's mean cross-entropy (K,) and accuracy (K,) over X (n, d), y (n,)."""

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def evaluate(X: Any, y: Any, params: Tensors) -> tuple[Any, Any]:
        logits = _logits(X, params, activation, None)
        labels = tf.broadcast_to(y, tf.shape(logits)[:2])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        right = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32)
        return tf.reduce_mean(losses, 1), tf.reduce_mean(right, 1)

    return evaluate  # type: ignore[no-any-return]


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def keep_better(kept: Tensors, params: Tensors, better: Any) -> Tensors:
    """Returns for each head its new parameters where `better` (K,) says so, else those kept so far."""
    pairs = zip(kept, params, strict=True)
    return [tf.where(_per_head(better, i, new), new, old) for i, (old, new) in enumerate(pairs)]


def empty_slots(optimizer: str, params: Tensors) -> Tensors:
    """Returns an optimizer's slots before the first step: two for each parameter of Adam, one of SGD."""
    return [tf.zeros_like(p) for _ in range(2 if optimizer == "adam" else 1) for p in params]


def _per_head(values: Any, index: int, parameter: Any) -> Any:
    """Reshapes values (K,) so that they broadcast over parameter number `index`."""
    if index == 0:
        return values[None, :, None]
    return tf.reshape(values, (-1,) + (1,) * (parameter.shape.rank - 1))


def _losses(
    shape: Shape, x: Any, labels: Any, weights: Any, params: Tensors, options: dict[str, Any], steps: Any
) -> Any:
    """Returns the mean cross-entropy of each head over a batch: (K,)."""
    drop = (lambda layer, values: _dropped(values, layer, options, steps)) if shape.dropout else None
    logits = _logits(x, params, shape.activation, drop)
    smoothing = options["label_smoothing"][:, None, None]
    targets = tf.one_hot(labels, logits.shape[-1])[None] * (1 - smoothing) + smoothing / logits.shape[-1]
    losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    return tf.reduce_sum(losses * weights, 1) / tf.reduce_sum(weights)


def _logits(x: Any, params: Tensors, activation: str, drop: Callable[[int, Any], Any] | None) -> Any:
    """Returns the logits of K heads for a batch x (b, d): (K, b, classes)."""
    kernel, bias = params[0], params[1]
    heads, width = kernel.shape[1], kernel.shape[2]
    if drop and len(params) == 2:  # noqa: PLR2004 - no hidden layer: each head drops inputs of its own
        outputs = tf.einsum("kbd,dkc->kbc", drop(0, tf.repeat(x[None], heads, 0)), kernel)
    else:
        joined = tf.matmul(x, tf.reshape(kernel, (-1, heads * width)))
        outputs = tf.transpose(tf.reshape(joined, (-1, heads, width)), (1, 0, 2))
    outputs += bias[:, None]
    for layer in range(1, len(params) // 2):
        outputs = _activate(activation, outputs)
        if drop:
            outputs = drop(layer, outputs)
        outputs = tf.matmul(outputs, params[2 * layer]) + params[2 * layer + 1][:, None]
    return outputs


def _activate(name: str, x: Any) -> Any:
    return {"relu": tf.nn.relu, "tanh": tf.tanh, "gelu": tf.nn.gelu}[name](x)


def _squares(params: Tensors) -> Any:
    """Returns the sum of the squares of each head's kernels: (K,)."""
    return tf.add_n([tf.reduce_sum(p * p, (0, 2) if i == 0 else (1, 2)) for i, p in enumerate(params) if i % 2 == 0])


def _dropped(values: Any, layer: int, options: dict[str, Any], steps: Any) -> Any:
    """Applies each head's dropout to its values (K, b, h); what is kept is scaled, as Keras does."""
    rate = options["dropout"][:, None, None]
    keep = tf.cast(_uniform(values, layer, options["seed"], steps) >= rate, values.dtype)
    return values * keep / (1 - rate)


def _uniform(like: Any, layer: int, seeds: Any, steps: Any) -> Any:
    """Returns numbers in [0, 1) shaped like (K, b, h), each a hash of head's seed, step, layer and place.

    References:
        The finalizer of MurmurHash3 (Austin Appleby, public domain), applied twice with the stream mixed in between.
    """
    size = tf.shape(like)
    place = tf.reshape(tf.range(size[1] * size[2]), (1, size[1], size[2]))
    stream = tf.cast(seeds, tf.uint32) * _u32(0x9E3779B1) + tf.cast(steps, tf.uint32) * _u32(0xC2B2AE3D)
    stream = _mix(stream + _u32(0x27D4EB2F) * _u32(layer + 1))[:, None, None]
    bits = _mix(tf.bitwise.bitwise_xor(_mix(tf.cast(place, tf.uint32) + stream), stream))
    return tf.cast(tf.bitwise.right_shift(bits, _u32(8)), tf.float32) * 2.0**-24


def _mix(x: Any) -> Any:
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(16))) * _u32(0x85EBCA6B)
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(13))) * _u32(0xC2B2AE35)
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u32(16)))


def _u32(value: int) -> Any:
    return tf.constant(value & 0xFFFFFFFF, tf.uint32)


def _update(
    optimizer: str, params: Tensors, slots: Tensors, gradients: Tensors, options: dict[str, Any], active: Any, step: Any
) -> tuple[Tensors, Tensors]:
    """Takes one step of Keras's Adam or SGD; heads that are not active keep their parameters."""
    rate = options["learning_rate"] * active
    if optimizer == "sgd":
        moved = [
            _per_head(options["momentum"], i, p) * m - _per_head(rate, i, p) * g
            for i, (p, m, g) in enumerate(zip(params, slots, gradients, strict=True))
        ]
        return [p + _per_head(active, i, p) * m for i, (p, m) in enumerate(zip(params, moved, strict=True))], moved
    means, squares = slots[: len(params)], slots[len(params) :]
    means = [m + (g - m) * (1 - ADAM_BETA_1) for m, g in zip(means, gradients, strict=True)]
    squares = [v + (g * g - v) * (1 - ADAM_BETA_2) for v, g in zip(squares, gradients, strict=True)]
    rate *= tf.sqrt(1 - ADAM_BETA_2**step) / (1 - ADAM_BETA_1**step)
    stepped = [
        p - _per_head(rate, i, p) * m / (tf.sqrt(v) + ADAM_EPSILON)
        for i, (p, m, v) in enumerate(zip(params, means, squares, strict=True))
    ]
    return stepped, means + squares
