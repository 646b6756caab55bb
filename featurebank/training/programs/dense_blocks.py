"""A large first kernel in blocks: a step goes over each block once, while it is in the processor's cache.

The algebra. The first kernels of K heads stand side by side as one matrix W (d, K h). A step needs the outputs O = x W,
the gradient G = x^T D of W, where D (b, K h) is the gradient of the outputs, and an update of W and its slots, element
by element. Column j of all of these depends on column j of W and D alone. So W can be cut into blocks of columns; of
one block after the other the gradient is made, the update done, and at once the outputs for the NEXT batch, x' W. Done
for the whole matrix at a time, G is written to memory and read again, and W is read once more for x' W: with Adam nine
passes over memory instead of six.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import tensorflow as tf

from featurebank.training.optimizers import Slots
from featurebank.training.programs.compilation import CompiledFunction, traced_once
from featurebank.training.programs.dense import by_head, gathered, head_losses
from featurebank.training.programs.layers import Shape, dropper
from featurebank.training.programs.losses import penalties
from featurebank.training.programs.normalisation import moved
from featurebank.training.programs.tensors import Sizes, Tensors, updated
from featurebank.training.weights import SHARED_KERNEL

_SMALL = 1 << 22
"""Weights of kernels that stay in one block: cutting them would cost more than it saves."""
_WEIGHTS = 1 << 20
"""Of a block, at most."""
_MOST = 64
"""Blocks of a program: each is compiled by itself."""


@dataclass(frozen=True)
class ColumnBlock:
    """Some columns of K first kernels (d, K, h) side by side: units of one head, or all units of several."""

    heads: slice
    units: slice


def blocks_of(inputs: int, heads: int, units: int) -> Sequence[ColumnBlock]:
    """Returns the blocks of K first kernels in the order of their columns; one block where they are small.

    Args:
        inputs: d.
        heads: K.
        units: h.
    """
    columns = heads * units
    if inputs * columns <= _SMALL:
        return [ColumnBlock(slice(0, heads), slice(0, units))]
    most = max(1, _WEIGHTS // inputs, -(-columns // _MOST))
    if units >= most:
        return [ColumnBlock(slice(head, head + 1), part) for head in range(heads) for part in _parts(units, most)]
    return [ColumnBlock(part, slice(0, units)) for part in _parts(heads, most // units)]


def _parts(count: int, most: int) -> list[slice]:
    """Cuts a range into parts of nearly equal size, none larger than `most`."""
    number = -(-count // most)
    edges = [count * place // number for place in range(number + 1)]
    return [slice(*ends) for ends in pairwise(edges)]


def is_worth_it(shape: Shape, kernel: Any) -> bool:
    """Returns whether first kernels (d, K, h) are trained in blocks.

    Heads without a hidden layer that drop inputs see no batch together, so that there is no joined product to cut.
    """
    return len(blocks_of(*kernel.shape)) > 1 and not (shape.dropout and len(shape.kernels) == 1)


@cache
def epoch_program(
    shape: Shape, sizes: Sizes
) -> Callable[..., tuple[Tensors, dict[str, Slots], Tensors, Any, Any, Any]]:
    """Returns the program of one epoch with the first kernels in blocks; see `featurebank.training.programs.dense`."""

    @CompiledFunction
    def epoch(
        X: Any, y: Any, sample_weights: Any, rows: Any, weights: Any, rates: Any, params: Tensors,
        slots: dict[str, Slots], moving: Tensors, options: Tensors, active: Any, steps: Any, count: Any,
    ) -> Any:  # fmt: skip
        heads, batches = params[SHARED_KERNEL].shape[1], tf.shape(rows)[0] if count is None else count
        first = _Blocks(shape, blocks_of(*params[SHARED_KERNEL].shape), options, active)
        others = {name: value for name, value in params.items() if name != SHARED_KERNEL}
        its_slots = {name: slots[name] for name in others}

        def body(
            i: Any, outputs: Any, blocks: Any, params: Tensors, slots: Any, moving: Tensors, steps: Any, total: Any,
            right: Any,
        ) -> Any:  # fmt: skip
            with tf.GradientTape() as tape:
                tape.watch((outputs, params))
                losses, hits, seen = head_losses(
                    shape, by_head(outputs, heads), tf.gather(y, rows[i]), weights[i], params, options,
                    dropper(shape, options, steps), gathered(sample_weights, rows[i]),
                )  # fmt: skip
                objective = tf.reduce_sum(losses)
            backward, gradients = tape.gradient(objective, (outputs, params))
            if shape.penalized:
                losses += penalties(params, options) + first.penalties([kernel for kernel, _ in blocks])
            steps = steps + 1
            number = tf.cast(steps, tf.float32)
            params, slots = updated(shape, params, slots, gradients, rates[i] * active, options, active, number)
            x, following = tf.gather(X, rows[i]), tf.gather(X, rows[tf.minimum(i + 1, batches - 1)])
            outputs, blocks = first.step(x, backward, following, blocks, rates[i], number)
            moving = moved(moving, seen, options["keep"], active)
            total += losses * tf.reduce_sum(weights[i])
            return i + 1, outputs, blocks, params, slots, moving, steps, total, right + hits

        blocks = first.cut(params[SHARED_KERNEL], slots[SHARED_KERNEL])
        outputs = first.outputs(tf.gather(X, rows[0]), [kernel for kernel, _ in blocks])
        start = (0, outputs, blocks, others, its_slots, moving, steps, tf.zeros_like(active), tf.zeros_like(active))
        result = tf.while_loop(lambda i, *_: i < batches, body, start)
        _, _, blocks, others, its_slots, moving, steps, total, right = result
        kernel, kernel_slots = first.whole(blocks, heads)
        return (
            {SHARED_KERNEL: kernel, **others}, {SHARED_KERNEL: kernel_slots, **its_slots}, moving, steps,
            total / tf.reduce_sum(weights), right / tf.reduce_sum(weights),
        )  # fmt: skip

    return traced_once(epoch)


@dataclass(frozen=True)
class _Blocks:
    """The first kernels in blocks, each (d, heads, units) with its slots."""

    shape: Shape
    places: Sequence[ColumnBlock]
    options: Tensors
    active: Any

    def cut(self, kernel: Any, slots: Slots) -> list[tuple[Any, Slots]]:
        """Returns the blocks of a kernel (d, K, h) and of its slots."""
        return [
            (kernel[:, place.heads, place.units], tuple(slot[:, place.heads, place.units] for slot in slots))
            for place in self.places
        ]

    def whole(self, blocks: Sequence[tuple[Any, Slots]], heads: int) -> tuple[Any, Slots]:
        """Returns what `cut` was given."""

        def joined(parts: Sequence[Any]) -> Any:
            flat = tf.concat([tf.reshape(part, (part.shape[0], -1)) for part in parts], 1)
            return tf.reshape(flat, (flat.shape[0], heads, -1))

        slots = zip(*(its_slots for _, its_slots in blocks), strict=True)
        return joined([kernel for kernel, _ in blocks]), tuple(joined(parts) for parts in slots)

    def outputs(self, x: Any, kernels: Sequence[Any]) -> Any:
        """Returns the outputs (b, K h) of a batch (b, d)."""
        return tf.concat([tf.matmul(x, tf.reshape(kernel, (kernel.shape[0], -1))) for kernel in kernels], 1)

    def penalties(self, kernels: Sequence[Any]) -> Any:
        """Returns the penalties of the blocks' kernels, summed for each head (K,)."""
        heads, total = self.options["l1"].shape[0], tf.zeros_like(self.options["l1"])
        for place, kernel in zip(self.places, kernels, strict=True):
            options = {name: self.options[name][place.heads] for name in ("l1", "l2")}
            total += tf.pad(
                penalties({SHARED_KERNEL: kernel}, options), [(place.heads.start, heads - place.heads.stop)]
            )
        return total

    def step(
        self, x: Any, backward: Any, following: Any, blocks: Sequence[tuple[Any, Slots]], rates: Any, number: Any
    ) -> tuple[Any, list[tuple[Any, Slots]]]:
        """Takes one step, block by block.

        Args:
            x: the batch (b, d).
            backward: the gradients of its outputs (b, K h).
            following: the next batch (b, d).
            blocks: kernels and slots before the step.
            rates: of the heads (K,).
            number: of the step, from 1.

        Returns:
            The outputs of the next batch (b, K h), and kernels and slots after the step.
        """
        done, outputs, start = [], [], 0
        for place, (kernel, slots) in zip(self.places, blocks, strict=True):
            width = kernel.shape[1] * kernel.shape[2]
            gradient = tf.matmul(x, backward[:, start : start + width], transpose_a=True)
            options = {name: value[place.heads] for name, value in self.options.items()}
            active = self.active[place.heads]
            new, new_slots = updated(
                self.shape, {SHARED_KERNEL: kernel}, {SHARED_KERNEL: slots},
                {SHARED_KERNEL: tf.reshape(gradient, kernel.shape)}, rates[place.heads] * active, options, active,
                number,
            )  # fmt: skip
            done.append((new[SHARED_KERNEL], new_slots[SHARED_KERNEL]))
            outputs.append(self.outputs(following, [new[SHARED_KERNEL]]))
            start += width
        return tf.concat(outputs, 1), done
