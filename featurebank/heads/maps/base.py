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
from featurebank.heads.joint import BATCH_NORMS, NO_BIAS, JointHead
from featurebank.heads.keras_layers import activated, dense
from featurebank.heads.maps.on_maps import ROWS, HeadOnMaps
from featurebank.heads.maps.stems import MapStem
from featurebank.heads.memory import COPIES
from featurebank.system.validation import ParameterCheck, choice, listed, number, widths
from featurebank.training.activations import ACTIVATIONS, normalized_activation
from featurebank.training.history import History
from featurebank.training.options import batch_norm_position

_ADDS_A_NANOSECOND = 100
"""Of a step on one core, as it was measured; see `epochs_cost`."""


@dataclass(kw_only=True, eq=False, repr=False)
class MapHead(HeadOnMaps, JointHead):
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

    def stem(self) -> MapStem:
        """Returns what turns a map into the vector that the dense layers take."""
        raise NotImplementedError

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether a fitted head can predict for maps of the shape (h, w, c)."""
        return shape == self.map_shape_ if self.stem().is_fixed_to_shape() else shape[-1] == self.map_shape_[-1]

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        return tuple(listed(self.hidden_units))

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return self.activation

    def normalization(self) -> tuple[str, float]:
        """Returns the position of batch normalisation of the dense layers, and its momentum."""
        return batch_norm_position(self.batch_norm), float(self.batch_norm_momentum)

    def dropout_places(self) -> int:
        """Returns 1 for the place after the stem, and 1 for each hidden layer."""
        return 1 + len(self.layer_sizes())

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        rates = self.dropout if isinstance(self.dropout, list | tuple) else [self.dropout]
        sound = sizes("hidden_units", self.hidden_units, empty=True)
        places = len(self.hidden_units) + 1 if isinstance(self.hidden_units, list | tuple) else 2
        return [
            *super().checks(),
            sound,
            choice("activation", self.activation, ACTIVATIONS),
            choice("batch_norm", plain(self.batch_norm), BATCH_NORMS),
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
        return 4 * (COPIES * weights + rows * (self.stem().floats(shape) + sum(self.layer_sizes()) + classes))

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        sizes = (*self.stem().cost(shape), *self.layer_sizes(), classes)
        adds = sizes[0] + sum((inputs + 1) * units for inputs, units in pairwise(sizes[1:]))
        return epochs_cost(self.epochs, images, adds, _ADDS_A_NANOSECOND)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises HeadError where maps of a shape (h, w, c) are too small for the stem."""
        self.stem().shapes(shape)

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
        outputs = self.stem().layers(tensor, tensors)
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
        outputs = self.stem().answer(self.prepared(X), tensors)
        last, position = len(self.layer_sizes()), batch_norm_position(self.batch_norm)
        for layer in range(last):
            outputs = outputs @ tensors[f"kernel_dense{layer}"] + tensors.get(f"bias_dense{layer}", NO_BIAS)
            outputs = normalized_activation(self.activation, position, outputs, tensors, f"dense{layer}")
        return np.asarray(outputs @ tensors[f"kernel_dense{last}"] + tensors[f"bias_dense{last}"])


def plain(value: Any) -> Any:
    """Returns a truth value of numpy as Python's."""
    return bool(value) if isinstance(value, np.bool_) else value


def sizes(name: str, value: Any, *, empty: bool = False) -> ParameterCheck:
    """Checks for a whole number of 1 or more, or a list of them."""
    check = widths(name, value)
    return check._replace(holds=check.holds and (empty or value not in ((), [])))
