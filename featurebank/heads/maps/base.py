"""What the heads on maps share: a stem of their own, then dense layers; and their answer in plain numpy.

A head on maps is trained by `featurebank.heads.maps.network`, alone or together with others of its shape, and needs
TensorFlow for that alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.heads.base import State
from featurebank.heads.joint import NO_BIAS, HiddenLayers
from featurebank.heads.keras_layers import activated, dense
from featurebank.heads.maps.on_maps import HeadOnMaps
from featurebank.heads.maps.stems import MapStem
from featurebank.system.validation import ParameterCheck, number, widths
from featurebank.training.activations import normalized_activation
from featurebank.training.history import History
from featurebank.training.options import batch_norm_position


@dataclass(kw_only=True, eq=False, repr=False)
class MapHead(HeadOnMaps, HiddenLayers):
    """Base of the heads on maps (n, h, w, c): a subclass has the stem, which makes a vector of a map.

    Args:
        hidden_units: the width of each hidden dense layer after the stem; one number for one layer, () for none.
        dropout: rate after the stem and after each hidden layer; a list has one for each of these places.
        standardize: bring each channel to mean 0 and variance 1 over all places of the training images.
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    adds_a_nanosecond = 100

    dropout: float | Sequence[float] = 0.0

    def stem(self) -> MapStem:
        """Returns what turns a map into the vector that the dense layers take."""
        raise NotImplementedError

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether a fitted head can predict for maps of the shape (h, w, c)."""
        return shape == self.map_shape_ if self.stem().is_fixed_to_shape() else shape[-1] == self.map_shape_[-1]

    def dropout_places(self) -> int:
        """Returns 1 for the place after the stem, and 1 for each hidden layer."""
        return 1 + len(self.layer_sizes())

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        rates = self.dropout if isinstance(self.dropout, list | tuple) else [self.dropout]
        places = len(self.hidden_units) + 1 if isinstance(self.hidden_units, list | tuple) else 2
        return [
            *super().checks(),
            ParameterCheck(
                "dropout", self.dropout,
                f"a number from 0 to below 1, or a list of {places} (after the stem and each hidden layer)",
                all(number("", rate, below=1).holds for rate in rates)
                and (not isinstance(self.dropout, list | tuple) or len(self.dropout) == places),
            ),
        ]  # fmt: skip

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
        self._set_shape(shape)

    def state(self) -> State:
        """Returns the tensors, the shape of the maps and the history; see `Head.state`."""
        return State(self.tensors_, {"shape": self.map_shape_, "history": self.history_.to_dict()})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned."""
        history = History.of(state.facts["history"])
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


def sizes(name: str, value: Any) -> ParameterCheck:
    """Checks for a whole number of 1 or more, or a list of one or more of them."""
    check = widths(name, value)
    return check._replace(holds=check.holds and value not in ((), []))
