"""Heads that are small Keras networks on stored maps: built layer by layer, trained one at a time.

What the joined programs cannot hold - layers of the backbone's own, residual blocks - is a Keras model here. Options,
schedules, early stopping and history are those of every other head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from featurebank.backbone.keras_networks.unfold import unfold
from featurebank.errors import HeadError
from featurebank.heads.base import State
from featurebank.heads.keras_layers import averaged_class_maps
from featurebank.heads.maps.on_maps import ROWS, HeadOnMaps
from featurebank.heads.memory import COPIES, check_bytes
from featurebank.system.runtime import import_tensorflow
from featurebank.system.validation import ParameterCheck, choice, listed, number, optional, widths
from featurebank.training.activations import ACTIVATIONS
from featurebank.training.history import History

CLASS_MAPS = "class_maps"
POOLINGS = ("avg", "max", "flatten", CLASS_MAPS)


@dataclass(kw_only=True, eq=False, repr=False)
class LayeredHead(HeadOnMaps):
    """Base of the heads that are Keras networks on maps (n, h, w, c); a subclass has the part before the pooling.

    Args:
        pooling: what makes a vector of the last map: "avg" or "max" over its places, or "flatten". With "class_maps" a
            1x1 convolution, ReLU and the average over the places give one number a class: SqueezeNet's own classifier.
        hidden_units: the width of each dense layer between the pooling and the classifier; () for none.
        activation: of these layers.
        dropout: rate before the classifier, once, as in most networks of Keras.
        tail_learning_rate: of the layers before the pooling; None is `learning_rate`. A schedule acts on both alike.
        l2_sp: penalty l2_sp * sum((weight - its start) ** 2) of the layers before the pooling that start from trained
            weights, which keeps a small dataset from pulling them far away.
        learning_rate: see `TrainingOptions`, as for all the others; `standardize` must be false.

    References:
        L2-SP: Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
        ICML 2018, arXiv:1802.01483.
    """

    adds_a_nanosecond = 50

    pooling: str = "avg"
    hidden_units: int | Sequence[int] = ()
    activation: str = "relu"
    dropout: float = 0.0
    tail_learning_rate: float | None = None
    l2_sp: float = 0.0

    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    """The values of `pooling`."""

    # ------------------------------------------------------------ what a subclass says

    def body(self, shape: tuple[int, ...]) -> Any:
        """Returns a Keras model from maps of a shape (h, w, c) to the map that is pooled, with its first weights."""
        raise NotImplementedError

    def pooled(self, body: Any) -> Any:
        """Returns the vector (n, c) that pooling "avg" or "max" makes of the body's output."""
        import keras

        pool = keras.layers.GlobalMaxPooling2D if self.pooling == "max" else keras.layers.GlobalAveragePooling2D
        return pool(name="head_pool")(body.output)

    # ------------------------------------------------------------ what follows from it

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the dense layers before the classifier."""
        return tuple(listed(self.hidden_units))

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        sizes = widths("hidden_units", self.hidden_units)
        fits = self.pooling != CLASS_MAPS or not (sizes.holds and self.layer_sizes())
        return [
            *super().checks(),
            choice("pooling", self.pooling, self.poolings),
            sizes,
            ParameterCheck("hidden_units", self.hidden_units, "none with class_maps", fits),
            choice("activation", self.activation, ACTIVATIONS),
            number("dropout", self.dropout, below=1),
            optional(number("tail_learning_rate", self.tail_learning_rate, above=0)),
            number("l2_sp", self.l2_sp),
            ParameterCheck(
                "standardize", self.standardize, "false: the layers take maps as they are", not self.standardize
            ),
        ]

    def build(self, shape: tuple[int, ...], classes: int) -> Any:
        """Returns the whole network, maps (n, h, w, c) -> logits (n, classes), with its first weights."""
        import_tensorflow()
        import keras

        body = self.body(shape)
        x = body.output
        if self.pooling == "flatten":
            x = keras.layers.Flatten(name="head_flatten")(x)
        elif self.pooling != CLASS_MAPS:
            x = self.pooled(body)
        for number_, units in enumerate(self.layer_sizes()):
            check_bytes(type(self).__name__, 4 * COPIES * units * int(x.shape[-1]))
            x = self._dense(units, self.activation, f"head_dense{number_}", number_)(x)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, seed=self.random_state, name="head_dropout")(x)
        if self.pooling == CLASS_MAPS:
            start = keras.initializers.GlorotUniform(seed=self.random_state * 1000)
            x = averaged_class_maps(x, classes, start=start, rectified=True)
        else:
            x = self._dense(classes, None, "head_logits", len(self.layer_sizes()))(x)
        return keras.Model(body.input, x, name=type(self).__name__.lower())

    def _dense(self, units: int, activation: str | None, name: str, place: int) -> Any:
        import keras

        start = keras.initializers.GlorotUniform(seed=self.random_state * 1000 + place)
        return keras.layers.Dense(units, activation, kernel_initializer=start, name=name)

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the layers after the pooling take; `build` looks at the first of them."""
        sizes = (*self.layer_sizes(), classes)
        return 4 * COPIES * sum(inputs * units for inputs, units in pairwise(sizes))

    def set_fitted(
        self, weights: Sequence[np.ndarray], shape: tuple[int, ...], classes: np.ndarray, history: History
    ) -> None:
        """Takes the result of the training: all weights of `build(shape, len(classes))`, in Keras's order."""
        self.weights_, self.classes_, self.history_ = list(weights), classes, history
        self._set_shape(shape)
        _NETWORKS.pop(self, None)
        _ANSWERS.pop(self, None)

    def set_network(self, model: Any) -> None:
        """Takes the network that was trained, which has the weights of `set_fitted`; else it is built once more."""
        _NETWORKS[self] = model

    def state(self) -> State:
        """Returns all weights, the shape of the maps and the history; see `Head.state`."""
        arrays = {f"weight{place}": weight for place, weight in enumerate(self.weights_)}
        return State(arrays, {"shape": self.map_shape_, "history": self.history_.to_dict()})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned; the network, which checks its weights, is built when it is first asked."""
        weights = [state.arrays[f"weight{place}"] for place in range(len(state.arrays))]
        self.set_fitted(weights, tuple(state.facts["shape"]), classes, History.of(state.facts["history"]))

    def trial_shape(self) -> tuple[int, ...]:
        """Returns (): it builds a network, which checks its weights, when it is first asked."""
        return ()

    def model_(self) -> Any:
        """Returns a new copy of the trained network: a Keras model, maps (n, h, w, c) -> logits (n, classes).

        Raises:
            HeadError: the weights are not those of the network, because they come from a damaged file.
        """
        model = self.build(self.map_shape_, len(self.classes_))
        try:
            model.set_weights(self.weights_)
        except (ValueError, TypeError, AttributeError) as error:
            message = f"the weights of this {type(self).__name__} do not fit its layers: train it again"
            raise HeadError(message) from error
        return model

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the trained network to a graph, each layer under its own name; see `Head.keras_layers_`."""
        output, copies = unfold(self._network(), tensor)
        for layer, copy in copies:
            if getattr(layer, "weights", None):
                copy.set_weights(layer.get_weights())
        return output

    def _network(self) -> Any:
        if self not in _NETWORKS:
            _NETWORKS[self] = self.model_()
        return _NETWORKS[self]

    def _logits(self, X: np.ndarray) -> np.ndarray:
        if self not in _ANSWERS:
            _ANSWERS[self] = _answering(self._network())
        return np.asarray(_ANSWERS[self](X))


_NETWORKS: WeakKeyDictionary[LayeredHead, Any] = WeakKeyDictionary()
"""The networks of fitted heads; here, because `predict` must not change a head, and copies of one build their own."""
_ANSWERS: WeakKeyDictionary[LayeredHead, Callable[[np.ndarray], np.ndarray]] = WeakKeyDictionary()
"""What these networks say of maps, for the heads that have predicted."""


def _answering(model: Any) -> Any:
    """Returns a function from maps (b, h, w, c) to logits (b, classes); short batches are filled up to one shape."""
    tf = import_tensorflow()

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((ROWS, *model.input.shape[1:]), tf.float32)], autograph=False
    )
    def run(x: Any) -> Any:
        return model(x, training=False)

    def answer(maps: np.ndarray) -> np.ndarray:
        padded = np.concatenate([maps, np.zeros((ROWS - len(maps), *maps.shape[1:]), np.float32)])
        return np.asarray(run(tf.constant(padded)).numpy()[: len(maps)])

    return answer
