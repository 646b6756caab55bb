"""What one step computes: TensorFlow for the layers, XLA for the optimizer, which passes over the weights once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from featurebank.backbone.graph import graph_of
from featurebank.errors import ConfigError
from featurebank.finetuning.options import FinetuneOptions
from featurebank.finetuning.phases import LayerOrder, Phase, unfreeze
from featurebank.system.runtime import import_tensorflow
from featurebank.training.optimizers import Step
from featurebank.training.options import TrainingOptions

PROBABILITIES = "probabilities"
"""The layer of a graft whose input are the logits of the classes that the head has seen."""
_OLDER = 0.05
"""Which share of the statistics may be older than an epoch at its end."""


class TrainedModel:
    """A grafted model, as it is trained.

    Args:
        model: images (n, s, s, 3) RGB 0..255 -> probabilities of all classes.
        options: dropout and seed.
    """

    def __init__(self, model: Any, options: FinetuneOptions) -> None:
        self.model = model
        self.training = _logits_model(model, options)
        self.places = _places(model)
        for number, state in enumerate(self._seed_states()):
            state.assign(np.array([options.seed * 1000 + number, 0], np.uint32))
        self._judge: Any = None
        self._momenta = {
            layer.name: layer.momentum for layer in model.layers if type(layer).__name__ == "BatchNormalization"
        }

    def set_momenta(self, phase: Phase, steps: int, given: float | None) -> None:
        """Sets how fast the statistics of batch normalisation follow in a phase.

        Args:
            phase: whose layers are meant.
            steps: of an epoch.
            given: the momentum, if one was given.
        """
        for name, own in self._momenta.items():
            if name in phase.trained:
                self.model.get_layer(name).momentum = min(own, _OLDER ** (1 / steps)) if given is None else given

    def restore_momenta(self) -> None:
        """Gives the layers back their own momentum."""
        for name, own in self._momenta.items():
            self.model.get_layer(name).momentum = own

    def variables(self, phase: Phase) -> list[Any]:
        """Returns all that changes in a phase: weights, statistics of batch normalisation, states of dropout."""
        found = [variable for layer in self.model.layers if layer.name in phase.layers for variable in layer.variables]
        known = {id(variable) for variable in found}
        return found + [state for state in self._seed_states() if id(state) not in known]

    def judge(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities (b, classes) float32 of images (b, s, s, 3) uint8."""
        tf = import_tensorflow()
        if self._judge is None:
            spec = tf.TensorSpec((None, *self.model.input.shape[1:]), tf.uint8)

            @tf.function(input_signature=[spec], autograph=False)  # type: ignore[untyped-decorator]
            def judge(x: Any) -> Any:
                return tf.cast(self.model(tf.cast(x, tf.float32), training=False), tf.float32)

            self._judge = judge.get_concrete_function()
        return np.asarray(self._judge(tf.constant(images)).numpy())

    def _seed_states(self) -> list[Any]:
        weights = {id(weight) for weight in self.training.weights}
        return [v for v in self.training.variables if id(v) not in weights and "seed" in v.path]


class Program:
    """The training step of one phase.

    Args:
        network: what is trained.
        phase: which of its layers.
        options: layer-wise decay, clipping.
        class_weights: (classes,) of those that the head has seen.
    """

    def __init__(
        self, network: TrainedModel, phase: Phase, options: FinetuneOptions, class_weights: np.ndarray
    ) -> None:
        tf = import_tensorflow()
        unfreeze(network.model, phase)
        layout = LayerOrder(network.model)
        trained = [(n, v) for n in phase.trained for v in layout.layers[n].trainable_variables]
        self._parameters = [variable.value for _, variable in trained]
        self._rule = phase.training.rule()
        self.slots = [[tf.Variable(slot) for slot in self._rule.empty_slots(v)] for v in self._parameters]
        shares = [float(options.layer_decay) ** layout.depth(name) for name, _ in trained]
        change = _change(phase.training, self._parameters, self.slots, shares, options.global_clipnorm)
        self._step = _step(network.training, phase.training, self._parameters, change)
        self._weights = class_weights.astype(np.float32)

    def step(self, images: np.ndarray, labels: np.ndarray, rate: float, number: int) -> tuple[float, float]:
        """Takes one step; returns the mean loss before it, and how many of the images were judged right.

        Args:
            images: (b, s, s, 3) uint8.
            labels: (b,) int32, among the classes that the head has seen.
            rate: the learning rate.
            number: of the step in its phase, counted from 1.
        """
        tf = import_tensorflow()
        weights = self._weights[labels]
        loss, right = self._step(
            tf.constant(images), tf.constant(labels), tf.constant(weights),
            tf.constant(rate, tf.float32), tf.constant(number, tf.float32),
        )  # fmt: skip
        return float(loss), float(right)

    def forget(self) -> None:
        """Brings the optimizer back to its beginning."""
        for variable, slots in zip(self._parameters, self.slots, strict=True):
            for slot, value in zip(slots, self._rule.empty_slots(variable), strict=True):
                slot.assign(value)


def _step(model: Any, training: TrainingOptions, parameters: Sequence[Any], change: Callable[..., None]) -> Any:
    tf = import_tensorflow()
    scalar = tf.TensorSpec((), tf.float32)
    signature = [
        tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8), tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((None,), tf.float32), scalar, scalar,
    ]  # fmt: skip
    smoothing = float(training.label_smoothing)

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def step(x: Any, labels: Any, weights: Any, rate: Any, number: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            logits = tf.cast(model(tf.cast(x, tf.float32), training=True), tf.float32)
            classes = logits.shape[-1]
            targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits) * weights)
        change(tape.gradient(loss, parameters), rate, number)
        return loss, tf.reduce_sum(tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32))

    return step.get_concrete_function()


def _change(
    training: TrainingOptions, parameters: Sequence[Any], slots: Sequence[Sequence[Any]], shares: Sequence[float],
    clipnorm: float | None,
) -> Callable[..., None]:  # fmt: skip
    """Returns the program of the optimizer's step; it changes variables in place."""
    tf, rule, decay = import_tensorflow(), training.rule(), training.decayed()
    momentum, active = tf.constant(float(training.momentum)), tf.constant(1.0)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def change(gradients: list[Any], rate: Any, number: Any) -> None:
        if clipnorm is not None:
            norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients]))
            gradients = [g * tf.minimum(1.0, clipnorm / (norm + 1e-12)) for g in gradients]
        for variable, slot, gradient, share in zip(parameters, slots, gradients, shares, strict=True):
            own = rate * share
            p = tf.convert_to_tensor(variable)
            p -= p * decay * own
            p, new = rule.update(
                p, tuple(map(tf.convert_to_tensor, slot)), gradient, Step(own, momentum, number, active)
            )
            variable.assign(p)
            for old, value in zip(slot, new, strict=True):
                old.assign(value)

    return change  # type: ignore[no-any-return]


def _logits_model(model: Any, options: FinetuneOptions) -> Any:
    """Returns the part of a graft that ends in logits, with dropout before the head's last dense layer."""
    import keras

    logits = model.get_layer(PROBABILITIES).input
    if not options.dropout:
        return keras.Model(model.input, logits)
    layout = LayerOrder(model)
    last = max(n for name, n in layout.place.items() if layout.layers[name].weights and n < layout.place[PROBABILITIES])
    x = keras.layers.Dropout(options.dropout, seed=options.seed)(layout.layers[layout.order[last]].input)
    between = graph_of(model).order
    between = between[between.index(layout.order[last]) : between.index(PROBABILITIES)]
    if any(name not in layout.layers for name in between):
        message = "dropout finds no place before the last layer of this head: leave it out, or take a plain head"
        raise ConfigError(message)
    for name in between:
        x = layout.layers[name](x)
    return keras.Model(model.input, x)


def _places(model: Any) -> np.ndarray:
    """Returns for each class its place among those that the head has seen, -1 for others: (classes,) int32."""
    classes = model.output.shape[-1]
    places = np.arange(classes, dtype=np.int32)
    names = [layer.name for layer in model.layers]
    if "all_classes" in names:
        (kernel,) = model.get_layer("all_classes").get_weights()
        places[:] = -1
        places[kernel.argmax(axis=1)] = np.arange(len(kernel), dtype=np.int32)
    return places
