"""The compiled steps that train K heads on maps at once.

The algebra is that of `featurebank.training.programs.dense`: a first layer of the heads that multiplies what they share
is one product, the patches of the batch by all kernels side by side; what follows has one axis more, that of the heads.

What computes what was chosen by measurement: study D's head (3x3 convolution to 1024 filters, then 512, 218 units; 14
million weights) on maps of 7 x 7 x 1280 in batches of 32, two cores, seconds a head and step:

    Keras `fit`, one head after another                                   .69
    (a) convolutions of concatenated filters (`tf.nn.conv2d`), 8 heads    .62
    (b) everything in one XLA program, 8 heads                            .43; with variables changed in place .23
    (c) patches times kernels outside of XLA, the rest inside, 8 heads    .21; 2 heads .30, one .34

So it is (c). The two products of 75 billion multiply-adds that eight heads make of a batch run at 250 GFLOP/s, the
machine's peak for matrices; the convolution of the same library reaches 125 forward and 53 to 93 for the gradient of
the filters. Adam reads and writes 3.1 GB a step for eight heads, .11 to .13 s at 25 GB/s, where XLA does it in place:
weights and slots are variables. As the gradient of a head's kernel has as many multiply-adds for each weight as there
are places in a batch (800), the products weigh ten times what the optimizer does; joining heads saves patches and
dispatches, not multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import tensorflow as tf

from featurebank.training.dropout import dropped
from featurebank.training.optimizers import Rule, Slots
from featurebank.training.programs.dense import ACTIVATIONS
from featurebank.training.programs.losses import mean_losses, penalties, summed_losses
from featurebank.training.programs.normalisation import batch_statistics, moved, normalized
from featurebank.training.programs.tensors import Sizes, Tensors, traced_once, updated
from featurebank.training.stems import GEM_FLOOR, Layer, edges, kernel_name


@dataclass(frozen=True)
class MapShape:
    """What the heads of one program have in common, beside the sizes of their arrays."""

    stem: tuple[Any, ...]
    """Of `MapHead.stem_key`."""
    layers: int
    """How many dense layers, the last one included."""
    activation: str
    normalization: str
    """Where batch normalisation of dense layers stands: "before" or "after" the activation, "" nowhere."""
    rule: Rule
    dropout: bool
    """Whether any of them drops units at all."""
    max_norm: bool
    penalized: bool
    """Whether any of them has a penalty on its kernels."""


@dataclass(frozen=True)
class _Pass:
    """What a pass through the layers depends on beside the images."""

    shape: MapShape
    params: Tensors
    heads: int
    weights: Any
    """(b,) of the images in a batch's statistics."""
    moving: Tensors | None
    """The statistics to normalise by; None for those of the batch."""
    drop: Callable[[int, Any], Any] | None
    seen: Tensors
    """Takes the statistics of the batch."""


@cache
def step_program(shape: MapShape, sizes: Sizes) -> Callable[..., Any]:
    """Returns the program of one step, which is compiled when it is called first.

    It takes maps x (b, h, w, c), labels (b,), weights (b,) (0 for padding), the learning rates (K,), the variables of
    the parameters, of the optimizer's slots and of the moving statistics, which it changes, the heads' options (K, ...)
    each, which heads are still active (K,) and the number of steps done. It returns the mean loss of each head (K,) and
    the summed weights of the images that it judges right (K,), both before the step.
    """
    differentiate, change = _differentiation(shape, sizes), _change(shape, sizes)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(
        x: Any, labels: Any, weights: Any, rates: Any, params: Tensors, slots: dict[str, Slots], moving: Tensors,
        options: Tensors, active: Any, steps: Any,
    ) -> Any:  # fmt: skip
        kernel = params["kernel0"] if shape.stem[0] == "conv" else None
        rest = {name: tf.convert_to_tensor(value) for name, value in params.items() if value is not kernel}
        patches = x if kernel is None else _first_patches(shape, x)
        outputs = x if kernel is None else _first_product(patches, kernel)
        losses, hits, seen, gradients = differentiate(outputs, labels, weights, rest, options, steps, rates.shape[0])
        if shape.penalized:
            losses += penalties({name: tf.convert_to_tensor(value) for name, value in params.items()}, options)
        if kernel is not None:
            flat = tf.reshape(gradients.pop("outputs"), (-1, kernel.shape[1] * kernel.shape[2]))
            product = tf.matmul(tf.reshape(patches, (-1, kernel.shape[0])), flat, transpose_a=True)
            gradients["kernel0"] = tf.reshape(product, kernel.shape)
        change(params, slots, moving, gradients, seen, rates, options, active, steps)
        return losses, hits

    return traced_once(step)


@cache
def evaluation_program(shape: MapShape, sizes: Sizes) -> Callable[..., tuple[Any, Any]]:
    """Returns the program that gives each head's summed cross-entropy (K,) and right answers (K,) in a batch.

    It takes maps, labels and weights as the program of a step, parameters, moving statistics and options.
    """

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def judge(
        outputs: Any, labels: Any, weights: Any, params: Tensors, moving: Tensors, options: Tensors, heads: int
    ) -> tuple[Any, Any]:
        logits = _logits(outputs, _Pass(shape, params, heads, weights, moving, None, {}))
        return summed_losses(logits, labels, weights, options)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def evaluate(x: Any, labels: Any, weights: Any, params: Tensors, moving: Tensors, options: Tensors) -> Any:
        kernel = params["kernel0"] if shape.stem[0] == "conv" else None
        rest = {name: tf.convert_to_tensor(value) for name, value in params.items() if value is not kernel}
        fixed = {name: tf.convert_to_tensor(value) for name, value in moving.items()}
        outputs = x if kernel is None else _first_product(_first_patches(shape, x), kernel)
        return judge(outputs, labels, weights, rest, fixed, options, rest["kernel_dense0"].shape[0])

    return evaluate  # type: ignore[no-any-return]


def _differentiation(shape: MapShape, sizes: Sizes) -> Callable[..., tuple[Any, Any, Tensors, Tensors]]:
    """Returns the program of losses (K,), right answers (K,), the batch's statistics and the gradients."""

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def differentiate(
        outputs: Any, labels: Any, weights: Any, params: Tensors, options: Tensors, steps: Any, heads: int
    ) -> Any:
        seen: Tensors = {}
        watched = {**params, "outputs": outputs} if shape.stem[0] == "conv" else params
        with tf.GradientTape() as tape:
            tape.watch(watched)
            drop = (lambda layer, values: _dropped(values, layer, options, steps)) if shape.dropout else None
            logits = _logits(outputs, _Pass(shape, params, heads, weights, None, drop, seen))
            losses, hits = mean_losses(logits, labels, weights, options)
            objective = tf.reduce_sum(losses)
        return losses, hits, seen, tape.gradient(objective, watched)

    return differentiate  # type: ignore[no-any-return]


def _change(shape: MapShape, sizes: Sizes) -> Callable[..., None]:
    """Returns the program of the optimizer's step, which changes the variables in place."""

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def change(
        params: Tensors, slots: dict[str, Slots], moving: Tensors, gradients: Tensors, seen: Tensors, rates: Any,
        options: Tensors, active: Any, steps: Any,
    ) -> None:  # fmt: skip
        new, new_slots = updated(
            shape, {n: tf.convert_to_tensor(p) for n, p in params.items()},
            {n: tuple(map(tf.convert_to_tensor, found)) for n, found in slots.items()},
            gradients, rates * active, options, active, steps + 1,
        )  # fmt: skip
        if "power" in new:  # below 1 it would be no mean that grows with its values
            new["power"] = tf.maximum(new["power"], 1.0)
        for name, variable in params.items():
            variable.assign(new[name])
            for slot, value in zip(slots[name], new_slots[name], strict=True):
                slot.assign(value)
        statistics = {name: tf.convert_to_tensor(value) for name, value in moving.items()}
        for name, value in moved(statistics, seen, options["keep"], active).items():
            moving[name].assign(value)

    return change  # type: ignore[no-any-return]


def _first_patches(shape: MapShape, x: Any) -> Any:
    return _patches(x, shape.stem[1][0].kernel, shape.stem[2])


def _first_product(patches: Any, kernel: Any) -> Any:
    """Returns what all kernels make of the patches: (b, h, w, K * filters), by one product."""
    joined = tf.reshape(kernel, (kernel.shape[0], -1))
    product = tf.matmul(tf.reshape(patches, (-1, kernel.shape[0])), joined)
    return tf.reshape(product, (*patches.shape[:3], joined.shape[1]))


def _patches(x: Any, kernel: int, padding: str) -> Any:
    """Returns the patches (..., h', w', kernel * kernel * c) of maps (..., h, w, c)."""
    if padding == "same":
        outer = [(0, 0)] * (x.shape.rank - 3)
        x = tf.pad(x, [*outer, edges(kernel, padding), edges(kernel, padding), (0, 0)])
    height, width = x.shape[-3] - kernel + 1, x.shape[-2] - kernel + 1
    corners = [(i, j) for i in range(kernel) for j in range(kernel)]
    return tf.concat([x[..., i : i + height, j : j + width, :] for i, j in corners], -1)


def _logits(outputs: Any, run: _Pass) -> Any:
    """Returns the logits of K heads (K, b, classes), of maps or of what the first kernels made of them."""
    shape = run.shape
    vectors = {"conv": _conv, "attention": _attention, "gem": _gem}[shape.stem[0]](outputs, run)
    for layer in range(shape.layers):
        if run.drop:
            vectors = run.drop(layer, vectors)
        vectors = tf.matmul(vectors, run.params[f"kernel_dense{layer}"])
        if (bias := f"bias_dense{layer}") in run.params:
            vectors += run.params[bias][:, None]
        if layer < shape.layers - 1:
            vectors = _activated(vectors, f"dense{layer}", shape.normalization, run)
    return vectors


def _conv(outputs: Any, run: _Pass) -> Any:
    _, layers, padding, normalization, reduction = run.shape.stem
    count, height, width = outputs.shape[:3]
    x = tf.transpose(tf.reshape(outputs, (count, height, width, run.heads, -1)), (3, 0, 1, 2, 4))
    for number, layer in enumerate(layers):
        if number:
            x = _next_product(x, run.params[kernel_name(number)], layer, padding)
        if (bias := f"bias_conv{number}") in run.params:
            x += run.params[bias][:, None, None, None]
        x = _max_pooled(_activated(x, f"conv{number}", normalization, run), layer.pool)
    if reduction == "flatten":
        return tf.reshape(x, (run.heads, count, -1))
    return tf.reduce_mean(x, (2, 3)) if reduction == "avg" else tf.reduce_max(x, (2, 3))


def _next_product(x: Any, kernel: Any, layer: Layer, padding: str) -> Any:
    patches = _patches(x, layer.kernel, padding)
    product = tf.matmul(tf.reshape(patches, (patches.shape[0], -1, patches.shape[-1])), kernel)
    return tf.reshape(product, (*patches.shape[:4], layer.filters))


def _max_pooled(x: Any, side: int) -> Any:
    """Returns the maxima of windows of `side` x `side`; where some are equal, the first takes the gradient."""
    height, width = x.shape[2] // side * side, x.shape[3] // side * side
    corners = [(i, j) for i in range(side) for j in range(side)]
    return reduce(tf.maximum, [x[:, :, i:height:side, j:width:side] for i, j in corners])


def _attention(x: Any, run: _Pass) -> Any:
    queries = run.params["kernel0"]
    flat = tf.reshape(x, (x.shape[0], -1, x.shape[-1]))
    scores = tf.matmul(flat, tf.reshape(queries, (queries.shape[0], -1)))  # (b, places, K * queries)
    weights = tf.nn.softmax(tf.transpose(scores, (0, 2, 1)))
    averages = tf.reshape(tf.matmul(weights, flat), (x.shape[0], run.heads, -1))
    return tf.transpose(averages, (1, 0, 2))


def _gem(x: Any, run: _Pass) -> Any:
    logs = tf.math.log(tf.maximum(x, GEM_FLOOR))
    flat = tf.reshape(logs, (1, x.shape[0], -1, x.shape[-1]))
    power = run.params["power"][:, None, None]
    mean = tf.reduce_logsumexp(flat * power[..., None], 2) - tf.math.log(float(flat.shape[2]))
    return tf.exp(mean / power)


def _activated(x: Any, name: str, normalization: str, run: _Pass) -> Any:
    if normalization == "before":
        x = _normalized(x, name, run)
    x = ACTIVATIONS[run.shape.activation](x)
    return _normalized(x, name, run) if normalization == "after" else x


def _normalized(x: Any, name: str, run: _Pass) -> Any:
    """Normalises x (K, b, ..., units) by the batch's own statistics, or by the moving averages."""
    names = f"mean_{name}", f"variance_{name}"
    if run.moving is None:
        run.seen.update(zip(names, batch_statistics(x, run.weights), strict=True))
    mean, variance = ((run.seen if run.moving is None else run.moving)[part] for part in names)
    return normalized(x, f"_{name}", run.params, (mean, variance))


def _dropped(values: Any, layer: int, options: Tensors, steps: Any) -> Any:
    return dropped(values, options["dropout"][:, layer], layer, options["seed"], steps)
