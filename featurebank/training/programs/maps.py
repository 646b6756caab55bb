"""The compiled steps that train K heads on maps at once.

The algebra is that of `featurebank.training.programs.dense`: the first convolutions of all heads are one product of
the batch's patches with all kernels side by side; all later tensors have one more axis, which counts the heads.

Measurements decided which library computes what: the head of study D (3x3 convolution to 1024 filters, then 512 and 218
units; 14 million weights) on maps of 7 x 7 x 1280 in batches of 32, on two cores, in seconds per head and step:

    Keras `fit`, one head after another                                   .69
    (a) convolutions of concatenated filters (`tf.nn.conv2d`), 8 heads    .62
    (b) everything in one XLA program, 8 heads                            .43; with variables changed in place .23
    (c) patches times kernels outside of XLA, the rest inside, 8 heads    .21; 2 heads .30, one .34

The programs here are (c). The two products of eight heads, 75 billion multiply-adds a batch, run at 250 GFLOP/s, the
machine's peak for matrices; the convolution of the same library reaches 125 forward and 53 to 93 for the gradient of
the filters. Adam reads and writes 3.1 GB a step for eight heads, .11 to .13 s at 25 GB/s, where XLA does it in place:
weights and slots are variables. As the gradient of a head's kernel has as many multiply-adds for each weight as there
are places in a batch (800), the products weigh ten times what the optimizer does; joining heads saves patches and
dispatches, not multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf

from featurebank.training.optimizers import Slots
from featurebank.training.programs.compilation import CompiledFunction, traced_once
from featurebank.training.programs.layers import Pass, Shape, dropper
from featurebank.training.programs.losses import mean_losses, penalties, summed_losses
from featurebank.training.programs.normalisation import moved
from featurebank.training.programs.tensors import Sizes, Tensors, updated
from featurebank.training.weights import SHARED_KERNEL


@cache
def step_program(shape: Shape, sizes: Sizes) -> Callable[..., Any]:
    """Returns the program of one step, which is compiled when it is called first.

    It takes maps x (b, h, w, c), labels (b,), weights (b,) (0 for padding), sample weights (b,) or None, the learning
    rates (K,), the variables of the parameters, of the optimizer's slots and of the moving statistics, which it
    changes, the heads' options (K, ...) each, which heads are still active (K,) and the number of steps done. It
    returns the mean loss of each head (K,) and the summed weights of the images classified correctly (K,), both before
    the step.
    """
    differentiate, change = _differentiation(shape, sizes), _change(shape, sizes)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(
        x: Any, labels: Any, weights: Any, sample_weights: Any, rates: Any, params: Tensors, slots: dict[str, Slots],
        moving: Tensors, options: Tensors, active: Any, steps: Any,
    ) -> Any:  # fmt: skip
        kernel, rest = _outside(shape, params)
        patches = x if kernel is None else shape.stem.patches(x)
        outputs = x if kernel is None else _product(patches, kernel)
        losses, hits, seen, gradients = differentiate(
            outputs, labels, weights, sample_weights, rest, options, steps, rates.shape[0]
        )
        if shape.penalized:
            losses += penalties(_read(params), options)
        if kernel is not None:
            flat = tf.reshape(gradients.pop("outputs"), (-1, kernel.shape[1] * kernel.shape[2]))
            product = tf.matmul(tf.reshape(patches, (-1, kernel.shape[0])), flat, transpose_a=True)
            gradients[SHARED_KERNEL] = tf.reshape(product, kernel.shape)
        change(params, slots, moving, gradients, seen, rates, options, active, steps)
        return losses, hits

    return traced_once(step)


@cache
def evaluation_program(shape: Shape, sizes: Sizes) -> Callable[..., tuple[Any, Any]]:
    """Returns the program that gives each head's summed cross-entropy (K,) and right answers (K,) in a batch.

    It takes maps, labels and weights as the program of a step, parameters, moving statistics and options.
    """

    @CompiledFunction
    def sums(
        outputs: Any, labels: Any, weights: Any, params: Tensors, moving: Tensors, options: Tensors, heads: int
    ) -> tuple[Any, Any]:
        logits = _logits(outputs, Pass(shape, params, heads, moving=moving))
        return summed_losses(logits, labels, weights, options)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def evaluate(x: Any, labels: Any, weights: Any, params: Tensors, moving: Tensors, options: Tensors) -> Any:
        kernel, rest = _outside(shape, params)
        outputs = x if kernel is None else _product(shape.stem.patches(x), kernel)
        return sums(outputs, labels, weights, rest, _read(moving), options, rest["kernel_dense0"].shape[0])

    return traced_once(evaluate)


@cache
def prediction_program(shape: Shape, sizes: Sizes) -> Callable[..., Any]:
    """Returns the program that gives the probabilities of a batch of maps by each head, (K, b, classes).

    It takes maps, parameters and moving statistics.
    """

    @CompiledFunction
    def probabilities(outputs: Any, params: Tensors, moving: Tensors, heads: int) -> Any:
        return tf.nn.softmax(_logits(outputs, Pass(shape, params, heads, moving=moving)))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def predict(x: Any, params: Tensors, moving: Tensors) -> Any:
        kernel, rest = _outside(shape, params)
        outputs = x if kernel is None else _product(shape.stem.patches(x), kernel)
        return probabilities(outputs, rest, _read(moving), rest["kernel_dense0"].shape[0])

    return traced_once(predict)


def _differentiation(shape: Shape, sizes: Sizes) -> Callable[..., tuple[Any, Any, Tensors, Tensors]]:
    """Returns the program that computes losses (K,), right answers (K,), the statistics of the batch and gradients."""

    @CompiledFunction
    def differentiate(
        outputs: Any,
        labels: Any,
        weights: Any,
        sample_weights: Any,
        params: Tensors,
        options: Tensors,
        steps: Any,
        heads: int,
    ) -> Any:
        run = Pass(shape, params, heads, weights, drop=dropper(shape, options, steps))
        watched = {**params, "outputs": outputs} if shape.stem.multiplies_patches else params
        with tf.GradientTape() as tape:
            tape.watch(watched)
            losses, hits = mean_losses(_logits(outputs, run), labels, weights, options, sample_weights)
            objective = tf.reduce_sum(losses)
        return losses, hits, run.seen, tape.gradient(objective, watched)

    return differentiate


def _change(shape: Shape, sizes: Sizes) -> Callable[..., None]:
    """Returns the program of the optimizer's step, which changes the variables in place."""

    @CompiledFunction
    def change(
        params: Tensors, slots: dict[str, Slots], moving: Tensors, gradients: Tensors, seen: Tensors, rates: Any,
        options: Tensors, active: Any, steps: Any,
    ) -> None:  # fmt: skip
        new, new_slots = updated(
            shape, _read(params), {name: tuple(map(tf.convert_to_tensor, slot)) for name, slot in slots.items()},
            gradients, rates * active, options, active, steps + 1,
        )  # fmt: skip
        new = shape.stem.limited(new)
        for name, variable in params.items():
            variable.assign(new[name])
            for slot, value in zip(slots[name], new_slots[name], strict=True):
                slot.assign(value)
        for name, value in moved(_read(moving), seen, options["keep"], active).items():
            moving[name].assign(value)

    return change


def _outside(shape: Shape, params: Tensors) -> tuple[Any | None, Tensors]:
    """Returns the kernel whose products are computed outside of XLA, if there is one, and the other parameters."""
    kernel = params[SHARED_KERNEL] if shape.stem.multiplies_patches else None
    return kernel, _read({name: value for name, value in params.items() if value is not kernel})


def _read(variables: Tensors) -> Tensors:
    return {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}


def _product(patches: Any, kernel: Any) -> Any:
    """Returns the products (b, h, w, K * filters) of patches (b, h, w, inputs) with all kernels side by side."""
    joined = tf.reshape(kernel, (kernel.shape[0], -1))
    product = tf.matmul(tf.reshape(patches, (-1, kernel.shape[0])), joined)
    return tf.reshape(product, (*patches.shape[:3], joined.shape[1]))


def _logits(outputs: Any, run: Pass) -> Any:
    """Returns the logits of K heads (K, b, classes), of maps or of their patches' products with the first kernels."""
    return run.logits(run.shape.stem.vectors(outputs, run))
