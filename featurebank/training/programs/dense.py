"""The compiled program that trains K dense heads of one shape at once.

The algebra. K heads see the same batch x (b, d). Their first kernels W_1 .. W_K (d, h) stand side by side as one matrix
(d, K h), so that x [W_1 .. W_K] is one large product instead of K small ones; later layers are a batched product over
(K, h, h'). The loss is the SUM over heads of each one's mean cross-entropy. A head's loss does not depend on another's
weights, so the gradient of the sum with respect to W_k is exactly the gradient of loss k alone; and as the update
rules work element by element, with the rate and the rest of head k broadcast over its own weights, every head takes
exactly the steps it would take alone. Batch normalisation looks at one unit of one head at a time, and the norm of the
weights that lead to a unit at one column: neither mixes heads. Dropout keeps this, too: a mask is a hash of (seed of
the head, step, layer, position), not drawn from a stream that the heads share.

A whole epoch is one XLA program, which turns the optimizer's dozen element-wise operations into few passes over memory.
Evaluation and prediction are graphs of TensorFlow, because nearly all of their time is products of matrices: XLA would
save a few milliseconds an epoch, and takes .3 to .7 s to compile each.
Penalties are added to the gradients, l1 sign(w) + 2 l2 w, where they cost no pass of their own; the losses that are
recorded have them too, as Keras's have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf

from featurebank.training.optimizers import Slots
from featurebank.training.programs.compilation import CompiledFunction, traced_once
from featurebank.training.programs.layers import Drop, Pass, Shape, dropper
from featurebank.training.programs.losses import mean_losses, penalties, summed_losses
from featurebank.training.programs.normalisation import moved
from featurebank.training.programs.tensors import Sizes, Tensors, per_head, updated
from featurebank.training.weights import SHARED_KERNEL


@cache
def epoch_program(
    shape: Shape, sizes: Sizes
) -> Callable[..., tuple[Tensors, dict[str, Slots], Tensors, Any, Any, Any]]:
    """Returns the program of one epoch, which is compiled when it is called first.

    It takes features X (n, d), labels y (n,), the sample weights (n,) or None, the batches as row numbers (steps, b)
    and their weights (steps, b) (0 for padding), the learning rates (steps, K), the parameters, the optimizer's slots,
    the moving statistics, the heads' options (K, ...) each, which heads are still active (K,), the number of steps
    done, and how many of the batches are taken (None: all; the weights of the others are 0). It returns parameters,
    slots, statistics, steps, and the mean loss and the accuracy of each head (K,), of each batch before its step.
    """

    @CompiledFunction
    def epoch(
        X: Any, y: Any, sample_weights: Any, rows: Any, weights: Any, rates: Any, params: Tensors,
        slots: dict[str, Slots], moving: Tensors, options: Tensors, active: Any, steps: Any, count: Any,
    ) -> Any:  # fmt: skip
        def body(
            i: Any, params: Tensors, slots: dict[str, Slots], moving: Tensors, steps: Any, total: Any, right: Any
        ) -> Any:
            x, labels = tf.gather(X, rows[i]), tf.gather(y, rows[i])
            with tf.GradientTape() as tape:
                tape.watch(params)
                drop = dropper(shape, options, steps)
                outputs = _first(shape, x, params, drop)
                losses, hits, seen = head_losses(
                    shape, outputs, labels, weights[i], params, options, drop, gathered(sample_weights, rows[i])
                )
                objective = tf.reduce_sum(losses)
            gradients = tape.gradient(objective, params)
            if shape.penalized:
                losses += penalties(params, options)
            steps = steps + 1
            number = tf.cast(steps, tf.float32)  # counted as int32: float32 has no odd numbers above 2 ** 24
            params, slots = updated(shape, params, slots, gradients, rates[i] * active, options, active, number)
            moving = moved(moving, seen, options["keep"], active)
            return i + 1, params, slots, moving, steps, total + losses * tf.reduce_sum(weights[i]), right + hits

        batches = tf.shape(rows)[0] if count is None else count
        start = (0, params, slots, moving, steps, tf.zeros_like(active), tf.zeros_like(active))
        result = tf.while_loop(lambda i, *_: i < batches, body, start)
        return (*result[1:5], result[5] / tf.reduce_sum(weights), result[6] / tf.reduce_sum(weights))

    return traced_once(epoch)


@cache
def evaluation_program(shape: Shape, sizes: Sizes) -> Callable[..., tuple[Any, Any]]:
    """Returns the graph that gives each head's loss (K,), with smoothing and penalties, and its accuracy (K,).

    It takes features, labels, row numbers and weights as the program of an epoch, parameters, moving statistics and
    options.
    """

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def evaluate(
        X: Any, y: Any, rows: Any, weights: Any, params: Tensors, moving: Tensors, options: Tensors
    ) -> tuple[Any, Any]:
        heads = params[SHARED_KERNEL].shape[1]

        def body(i: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
            outputs = _first(shape, tf.gather(X, rows[i]), params, None)
            logits = Pass(shape, params, heads, moving=moving).logits(outputs, multiplied=True)
            losses, hits = summed_losses(logits, tf.gather(y, rows[i]), weights[i], options)
            return i + 1, loss + losses, right + hits

        start = (0, tf.zeros((heads,)), tf.zeros((heads,)))
        # One block of images after another: in a graph, ten would be in memory at once.
        _, loss, right = tf.while_loop(lambda i, *_: i < tf.shape(rows)[0], body, start, parallel_iterations=1)
        return loss / tf.reduce_sum(weights) + penalties(params, options), right / tf.reduce_sum(weights)

    return traced_once(evaluate)


@cache
def prediction_program(shape: Shape, sizes: Sizes) -> Callable[..., Any]:
    """Returns the graph that gives the probabilities of some images by each head, (K, b, classes).

    It takes features (n, d), row numbers (b,), parameters and moving statistics.
    """

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def predict(X: Any, rows: Any, params: Tensors, moving: Tensors) -> Any:
        outputs = _first(shape, tf.gather(X, rows), params, None)
        heads = params[SHARED_KERNEL].shape[1]
        return tf.nn.softmax(Pass(shape, params, heads, moving=moving).logits(outputs, multiplied=True))

    return traced_once(predict)


@cache
def keeping_program(sizes: Sizes) -> Callable[[Tensors, Tensors, Any], Tensors]:
    """Returns the graph that replaces the kept tensors of some heads, given by a mask (K,), by new ones."""

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def keep(best: Tensors, new: Tensors, better: Any) -> Tensors:
        return {name: tf.where(per_head(better, name, value), value, best[name]) for name, value in new.items()}

    return traced_once(keep)


def head_losses(
    shape: Shape,
    outputs: Any,
    labels: Any,
    weights: Any,
    params: Tensors,
    options: Tensors,
    drop: Drop | None,
    sample_weights: Any = None,
) -> tuple[Any, Any, Tensors]:
    """Returns each head's mean loss over a batch (K,), its right answers (K,), and the batch's means and variances.

    Args:
        shape: of the heads.
        outputs: of their first layers, (K, b, h), biases not yet added.
        labels: (b,) of the batch.
        weights: (b,) of the images, 0 for padding.
        params: of the heads; the first kernels are not used.
        options: of the heads.
        drop: of `dropper`.
        sample_weights: (b,) factors of the images' losses; None for 1 each.
    """
    run = Pass(shape, params, outputs.shape[0], weights, drop=drop)
    logits = run.logits(outputs, multiplied=True)
    return *mean_losses(logits, labels, weights, options, sample_weights), run.seen


def gathered(sample_weights: Any, rows: Any) -> Any:
    """Returns the sample weights of a batch (b,), of (n,) weights or None."""
    return None if sample_weights is None else tf.gather(sample_weights, rows)


def _first(shape: Shape, x: Any, params: Tensors, drop: Drop | None) -> Any:
    """Returns the outputs of the first layers (K, b, h) for a batch x (b, d)."""
    kernel = params[SHARED_KERNEL]
    heads, width = kernel.shape[1], kernel.shape[2]
    if drop and len(shape.kernels) == 1:  # no hidden layer: each head drops inputs of its own
        return tf.einsum("kbd,dkc->kbc", drop(0, tf.repeat(x[None], heads, 0)), kernel)
    return by_head(tf.matmul(x, tf.reshape(kernel, (-1, heads * width))), heads)


def by_head(joined: Any, heads: int) -> Any:
    """Returns (K, b, h) of outputs (b, K h)."""
    return tf.transpose(tf.reshape(joined, (joined.shape[0], heads, -1)), (1, 0, 2))
