"""What the heads on maps share: a stem of their own, then dense layers; and their answer in plain numpy.

A head on maps is trained by `featurebank.heads.maps.network`, alone or together with others of its shape, and needs
TensorFlow for that alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from featurebank.heads.base import State, epochs_cost
from featurebank.heads.keras_layers import activated, dense
from featurebank.heads.maps.on_maps import ROWS, HeadOnMaps
from featurebank.heads.memory import COPIES
from featurebank.system.validation import ParameterCheck, choice, listed, number, widths
from featurebank.training.activations import ACTIVATIONS, BATCH_NORM_EPSILON, activate
from featurebank.training.history import History
from featurebank.training.options import batch_norm_position

_ADDS_A_NANOSECOND = 100
"""Of a step on one core, as it was measured; see `epochs_cost`."""
_POOLING_ADDS_A_NUMBER = 20
WHERE = (True, False, "before", "after")
"""Where batch normalisation may stand: before the activation (as true), after it, or nowhere."""


@dataclass(kw_only=True, eq=False, repr=False)
class MapHead(HeadOnMaps):
    """Base of the heads on maps (n, h, w, c): a subclass has the stem, which makes a vector of a map.

    Args:
        hidden_units: the width of each hidden dense layer after the stem; one number for one layer, () for none.
        activation: "relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "sigmoid" or "linear".
        batch_norm: normalise each hidden unit over the batch, "before" its activation (as true does) or "after" it.
        batch_norm_momentum: of the moving means and variances that the trained head uses.
        dropout: rate after the stem and after each hidden layer; a list has one for each of these places.
        standardize: bring each channel to mean 0 and variance 1 over all places of the training images.
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    hidden_units: int | Sequence[int] = ()
    activation: str = "relu"
    batch_norm: bool | str = False
    batch_norm_momentum: float = 0.99
    dropout: float | Sequence[float] = 0.0

    # ------------------------------------------------------------ what a subclass says

    def stem_key(self) -> tuple[Any, ...]:
        """Returns what the program of the stem depends on; its first part names the stem."""
        raise NotImplementedError

    def stem_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor of the stem, for maps of the shape (h, w, c).

        A name that begins with "kernel" is penalised; "kernel0", if there is one, is multiplied by what all heads
        share.

        Raises:
            HeadError: such maps are too small.
        """
        raise NotImplementedError

    def stem_start(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Returns the first values of a tensor of the stem: Glorot uniform kernels, gammas of 1, else 0.

        References:
            Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
        """
        if name.startswith("gamma"):
            return np.ones(shape, np.float32)
        if not name.startswith("kernel"):
            return np.zeros(shape, np.float32)
        limit = np.sqrt(6 / self.fans(name, shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    def fans(self, name: str, shape: tuple[int, ...]) -> int:
        """Returns how many weights lead into a unit of a kernel and out of one of its inputs, together."""
        return shape[0] + shape[1]

    def stem_units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of a map of the shape (h, w, c)."""
        raise NotImplementedError

    def stem_floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one map while it is trained."""
        raise NotImplementedError

    def stem_cost(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns about how many multiply-adds the stem takes for one map, and how many numbers it makes of it."""
        return _POOLING_ADDS_A_NUMBER * math.prod(shape), shape[-1]

    def stem_answer(self, X: np.ndarray, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the vectors (b, units) of maps (b, h, w, c)."""
        raise NotImplementedError

    def stem_layers(self, tensor: Any) -> Any:
        """Adds the stem to a graph, as Keras layers: maps (n, h, w, c) -> vectors (n, units)."""
        raise NotImplementedError

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tells whether a head that is fitted can answer for maps of the shape (h, w, c)."""
        return shape[-1] == self.map_shape_[-1]

    # ------------------------------------------------------------ what follows from it

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        return tuple(listed(self.hidden_units))

    def normalization(self) -> tuple[str, float]:
        """Returns where batch normalisation of the dense layers stands, and its momentum."""
        return batch_norm_position(self.batch_norm), float(self.batch_norm_momentum)

    def dropout_rates(self) -> tuple[float, ...]:
        """Returns the rate after the stem and after each hidden layer."""
        if isinstance(self.dropout, Sequence):
            return tuple(map(float, self.dropout))
        return (float(self.dropout),) * (1 + len(self.layer_sizes()))

    def shapes(self, shape: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each tensor that is trained, for maps of the shape (h, w, c)."""
        found = self.stem_shapes(shape)
        sizes = (self.stem_units(shape), *self.layer_sizes(), classes)
        for layer, (inputs, units) in enumerate(pairwise(sizes)):
            found[f"kernel_dense{layer}"] = (inputs, units)
            place = batch_norm_position(self.batch_norm) if layer < len(sizes) - 2 else ""
            found |= {f"{name}_dense{layer}": (units,) for name in vectors(place)}
        return found

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        rates = self.dropout if isinstance(self.dropout, list | tuple) else [self.dropout]
        sound = sizes("hidden_units", self.hidden_units, empty=True)
        places = len(self.hidden_units) + 1 if isinstance(self.hidden_units, list | tuple) else 2
        return [
            *super().checks(),
            sound,
            choice("activation", self.activation, ACTIVATIONS),
            choice("batch_norm", plain(self.batch_norm), WHERE),
            number("batch_norm_momentum", self.batch_norm_momentum, below=1),
            ParameterCheck(
                "dropout", self.dropout,
                f"a number from 0 to below 1, or a list of {places} (after the stem and each hidden layer)",
                all(number("", rate, below=1).holds for rate in rates)
                and (not isinstance(self.dropout, list | tuple) or len(self.dropout) == places),
            ),
        ]  # fmt: skip

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained; see `featurebank.heads.memory`."""
        weights = sum(math.prod(size) for size in self.shapes(shape, classes).values())
        rows = max(min(int(self.batch_size), images), ROWS)
        return 4 * (COPIES * weights + rows * (self.stem_floats(shape) + sum(self.layer_sizes()) + classes))

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        sizes = (*self.stem_cost(shape), *self.layer_sizes(), classes)
        adds = sizes[0] + sum((inputs + 1) * units for inputs, units in pairwise(sizes[1:]))
        return epochs_cost(self.epochs, images, adds, _ADDS_A_NANOSECOND)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises HeadError where maps of a shape (h, w, c) are too small for the stem."""
        self.stem_shapes(shape)

    def set_fitted(
        self, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...], classes: np.ndarray, history: History
    ) -> None:
        """Takes the result of the training.

        Args:
            tensors: those of `shapes`, "mean_X" and "variance_X" for each "gamma_X", and "channel_mean" and
                "channel_scale" where the channels are standardised.
            shape: (h, w, c) of the training maps.
            classes: (classes,) labels.
            history: of the training.
        """
        self.tensors_, self.classes_, self.history_ = dict(tensors), classes, history
        self._take_shape(shape)

    def state(self) -> State:
        """Returns the tensors, the shape of the maps and the history; see `Head.state`."""
        return State(self.tensors_, {"shape": self.map_shape_, "history": self.history_.to_dict()})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned."""
        history = History(**state.facts["history"])
        self.set_fitted(state.arrays, tuple(state.facts["shape"]), classes, history)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph: the stem, then dense layers; see `Head.keras_layers_`."""
        import keras

        tensors, last, position = self.tensors_, len(self.layer_sizes()), batch_norm_position(self.batch_norm)
        if "channel_mean" in tensors:
            scale = 1 / tensors["channel_scale"].astype(np.float64)
            offset = -tensors["channel_mean"] * scale
            layer = keras.layers.Rescaling(scale.tolist(), offset=offset.tolist(), name="head_standardize")
            tensor = layer(tensor)
        outputs = self.stem_layers(tensor)
        for place in range(last):
            kernel = tensors[f"kernel_dense{place}"]
            bias = tensors.get(f"bias_dense{place}", np.zeros(kernel.shape[1]))  # none before batch normalisation
            outputs = dense(outputs, kernel, bias, f"head_dense{place}")
            outputs = activated(outputs, self.activation, position, tensors, f"dense{place}")
        return dense(outputs, tensors[f"kernel_dense{last}"], tensors[f"bias_dense{last}"], "head_logits")

    def prepared(self, X: np.ndarray) -> np.ndarray:
        """Returns maps as the stem takes them: standardised where the head is."""
        tensors = self.tensors_
        if "channel_mean" not in tensors:
            return X
        return np.asarray((X - tensors["channel_mean"]) / tensors["channel_scale"])

    def _logits(self, X: np.ndarray) -> np.ndarray:
        tensors = self.tensors_
        outputs = self.stem_answer(self.prepared(X), tensors)
        last = len(self.layer_sizes())
        for layer in range(last):
            outputs = outputs @ tensors[f"kernel_dense{layer}"] + tensors.get(f"bias_dense{layer}", NO_BIAS)
            outputs = normalized_activation(self.activation, self.batch_norm, outputs, tensors, f"dense{layer}")
        return np.asarray(outputs @ tensors[f"kernel_dense{last}"] + tensors[f"bias_dense{last}"])


def normalized_activation(
    activation: str, batch_norm: Any, x: np.ndarray, tensors: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    """Applies an activation, and batch normalisation before or after it."""
    place = batch_norm_position(batch_norm)
    if place == "before":
        x = _normalized(x, tensors, name)
    x = activate(activation, x)
    return _normalized(x, tensors, name) if place == "after" else x


def _normalized(x: np.ndarray, tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    scale = tensors[f"gamma_{name}"] / np.sqrt(tensors[f"variance_{name}"] + np.float32(BATCH_NORM_EPSILON))
    return x * scale + (tensors[f"beta_{name}"] - tensors[f"mean_{name}"] * scale)


NO_BIAS = np.float32(0)


def vectors(place: str) -> tuple[str, ...]:
    """Returns what a layer has beside its kernel, one number a unit each.

    Before batch normalisation, which takes every constant off again, there is no bias: its gradient would be nothing
    but rounding, and Adam would make steps of full length of that.

    Args:
        place: where batch normalisation stands; see `batch_norm_position`.
    """
    return {"": ("bias",), "before": ("gamma", "beta"), "after": ("bias", "gamma", "beta")}[place]


def plain(value: Any) -> Any:
    """Returns a truth value of numpy as Python's."""
    return bool(value) if isinstance(value, np.bool_) else value


def sizes(name: str, value: Any, *, empty: bool = False) -> ParameterCheck:
    """Checks for a whole number of 1 or more, or a list of them."""
    check = widths(name, value)
    return check._replace(holds=check.holds and (empty or value not in ((), [])))
