"""The model of a fine-tune while it is trained, and the training step of each of its phases."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.graph import graph_of
from featurebank.errors import ConfigError
from featurebank.finetuning.options import FinetuneOptions
from featurebank.finetuning.phases import LayerOrder, Phase, unfreeze
from featurebank.runs.finetuned import PROBABILITIES, class_places
from featurebank.system.runtime import import_tensorflow

_OLDER = 0.05
"""Largest share of the moving averages that may be older than one epoch, at the end of an epoch."""


class TrainedModel:
    """A grafted model while it is trained.

    Args:
        model: images (n, s, s, 3) RGB 0..255 -> probabilities of all classes.
        options: dropout and seed.
    """

    def __init__(self, model: Any, options: FinetuneOptions) -> None:
        from featurebank.training.programs.keras_step import seed_dropout, seed_states  # imports TensorFlow at its top

        self.model = model
        self.training = _logits_model(model, options)
        self.places = class_places(model)
        self._seeds = seed_states(self.training)
        seed_dropout(self.training, options.seed)
        self._forward: Any = None
        self._momenta = {
            layer.name: layer.momentum for layer in model.layers if type(layer).__name__ == "BatchNormalization"
        }

    def set_momenta(self, phase: Phase, steps: int, momentum: float | None) -> None:
        """Sets the momentum of batch normalisation's moving averages for a phase.

        Args:
            phase: the layers of this phase get the momentum.
            steps: number of steps in an epoch.
            momentum: the user's momentum; None lowers each layer's own, so that the averages follow within an epoch.
        """
        for name, own in self._momenta.items():
            if name in phase.trained:
                self.model.get_layer(name).momentum = min(own, _OLDER ** (1 / steps)) if momentum is None else momentum

    def restore_momenta(self) -> None:
        """Sets the momentum of each layer to its own again."""
        for name, own in self._momenta.items():
            self.model.get_layer(name).momentum = own

    def variables(self, phase: Phase) -> list[Any]:
        """Returns all variables that change in a phase: weights, moving averages, states of dropout."""
        layers = [layer for layer in self.model.layers if layer.name in phase.layers]
        variables = [variable for layer in layers for variable in layer.variables]
        known = {id(variable) for variable in variables}
        return variables + [state for state in self._seeds if id(state) not in known]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities (b, classes) float32 of images (b, s, s, 3) uint8."""
        tf = import_tensorflow()
        if self._forward is None:
            spec = tf.TensorSpec((None, *self.model.input.shape[1:]), tf.uint8)

            @tf.function(input_signature=[spec], autograph=False)  # type: ignore[untyped-decorator]
            def forward(x: Any) -> Any:
                return tf.cast(self.model(tf.cast(x, tf.float32), training=False), tf.float32)

            self._forward = forward.get_concrete_function()
        return np.asarray(self._forward(tf.constant(images)).numpy())


def phase_step(network: TrainedModel, phase: Phase, options: FinetuneOptions, class_weights: np.ndarray) -> Any:
    """Returns the training step of one phase, a `KerasStep`, and lets the layers of the phase be trained.

    Args:
        network: the model to train.
        phase: decides which layers are trained, and how.
        options: layer-wise decay of the learning rate, clipping.
        class_weights: (classes,) of those that the head has seen.
    """
    tf = import_tensorflow()
    from featurebank.training.programs.keras_step import KerasStep, TrainedVariable  # imports TensorFlow at its top

    unfreeze(network.model, phase)
    layout = LayerOrder(network.model)
    variables = [
        TrainedVariable(variable.value, float(options.layer_decay) ** layout.depth(name))
        for name in phase.trained
        for variable in layout.layers[name].trainable_variables
    ]
    return KerasStep(
        network.training, variables, phase.training, class_weights, dtype=tf.uint8, clipnorm=options.global_clipnorm
    )


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
