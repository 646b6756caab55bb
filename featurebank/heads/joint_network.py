"""The networks of joint heads: which heads share a program, their tensors, their options and their first weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from featurebank.heads.joint import JointHead
from featurebank.system.runtime import import_tensorflow, ram_limit
from featurebank.training.batches import Batches, Labelled, shuffled
from featurebank.training.weights import head_axis, moving_averages


class JointNetwork:
    """The tensors of K heads while they are trained, as eager tensors or as variables.

    Args:
        heads: heads of one program; see `program_key`.
        data: features and labels to train on.
        shape: of the features of one image.
        variables: whether parameters, slots and moving averages are variables, which a program changes in place.
    """

    images: int
    views: int

    def __init__(self, heads: Sequence[JointHead], data: Any, shape: tuple[int, ...], *, variables: bool) -> None:
        self._tf = import_tensorflow()
        from featurebank.training.programs import layers  # imports TensorFlow at its top

        self._data, self._first = data, heads[0]
        self._hold = self._tf.Variable if variables else self._tf.constant
        self._shape = layers.Shape(
            stem=heads[0].stem(),
            kernels=heads[0].kernel_names(),
            activation=heads[0].hidden_activation(),
            normalization=heads[0].normalization()[0] if heads[0].layer_sizes() else "",
            rule=heads[0].rule(),
            dropout=any(any(head.dropout_rates()) for head in heads),
            max_norm=heads[0].max_norm is not None,
            penalized=any(head.l1 or head.l2 for head in heads),
        )
        params, moving = initial_tensors(heads, shape, len(data.classes))
        self._params = {name: self._hold(array) for name, array in params.items()}
        self._moving = {name: self._hold(array) for name, array in moving.items()}
        self._slots = {
            name: tuple(self._hold(slot) for slot in self._shape.rule.empty_slots(p))
            for name, p in self._params.items()
        }
        self._options = {name: self._tf.constant(array) for name, array in option_arrays(heads, data).items()}

    def parts(self, size: int, rng: np.random.Generator, epoch: int) -> Iterator[Batches]:
        """Yields the batches of an epoch as one part; see `Network`."""
        yield shuffled(self.images, self.views, size, rng)

    def narrow(self, positions: Sequence[int]) -> None:
        """Drops all heads but those at the given positions; see `Network`."""

        def gathered(name: str, value: Any) -> Any:
            return self._hold(self._tf.gather(value, positions, axis=head_axis(name)))

        self._params = {name: gathered(name, value) for name, value in self._params.items()}
        self._moving = {name: gathered(name, value) for name, value in self._moving.items()}
        self._slots = {name: tuple(gathered(name, slot) for slot in slots) for name, slots in self._slots.items()}
        self._options = {name: self._tf.gather(value, positions) for name, value in self._options.items()}


def program_key(head: JointHead) -> tuple[Any, ...]:
    """Returns what the heads of one program have in common.

    Beside the shape of layers and rules: the batch size and the seed, which decide the order of the images.
    """
    hidden, stem = head.layer_sizes(), head.stem()
    drops_inputs = stem.is_empty and not hidden and any(head.dropout_rates())
    return (
        stem, hidden, head.hidden_activation() if hidden else "", head.normalization()[0] if hidden else "",
        head.rule(), head.batch_size, head.standardize, head.random_state, drops_inputs, head.max_norm is None,
    )  # fmt: skip


def programs(heads: Sequence[JointHead], shape: tuple[int, ...], classes: int, images: int = 0) -> list[list[int]]:
    """Returns the positions of the heads of each program, as even in number as the memory allows.

    Args:
        heads: to be trained.
        shape: of one image's features.
        classes: how many there are.
        images: how many are trained on.

    Raises:
        HeadError: the maps are too small for a head.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, head in enumerate(heads):
        groups.setdefault(program_key(head), []).append(position)
    pieces: list[list[int]] = []
    for positions in groups.values():
        first, stem = heads[positions[0]], heads[positions[0]].stem()
        # The outputs of vectors are small beside their weights, and their features are shared.
        each = first.weight_bytes(shape, classes) if stem.is_empty else first.working_bytes(images, shape, classes)
        most = max(1, min(stem.program_bytes, ram_limit() // 2) // each)
        pieces += [part.tolist() for part in np.array_split(positions, -(-len(positions) // most))]
    return pieces


def first_tensors(head: JointHead, shape: tuple[int, ...], classes: int) -> dict[str, np.ndarray]:
    """Returns the first values of a head's tensors, for features of a shape."""
    rng, stem = np.random.default_rng([head.random_state, 1]), head.stem()
    return {name: stem.start(name, size, rng) for name, size in head.shapes(shape, classes).items()}


def initial_tensors(
    heads: Sequence[JointHead], shape: tuple[int, ...], classes: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the first parameters and moving averages of the heads, stacked as the programs take them."""
    starts = [first_tensors(head, shape, classes) for head in heads]
    params = {name: np.stack([s[name] for s in starts], axis=head_axis(name)) for name in starts[0]}
    moving: dict[str, np.ndarray] = {}
    for name, value in params.items():
        moving |= {key: np.full(value.shape, first, np.float32) for key, first in moving_averages(name).items()}
    return params, moving


def option_arrays(heads: Sequence[JointHead], data: Labelled) -> dict[str, np.ndarray]:
    """Returns the options in which the heads of one program may differ, one row for each head."""
    values: dict[str, list[Any]] = {
        name: [getattr(head, name) for head in heads] for name in ("momentum", "l1", "l2", "label_smoothing")
    }
    values["weight_decay"] = [head.decayed() for head in heads]
    values["max_norm"] = [np.inf if head.max_norm is None else head.max_norm for head in heads]
    values["dropout"] = [head.dropout_rates() for head in heads]
    values["keep"] = [head.normalization()[1] for head in heads]
    classes = data.classes.tolist()
    values["class_weight"] = [head.class_weights(data.y, len(classes), classes, data.weights) for head in heads]
    arrays = {name: np.asarray(value, np.float32) for name, value in values.items()}
    return {**arrays, "seed": np.asarray([head.random_state & 0x7FFFFFFF for head in heads], np.int32)}
