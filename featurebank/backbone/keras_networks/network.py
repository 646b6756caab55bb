"""Networks of Keras as backbones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar

from featurebank.backbone import preprocess
from featurebank.backbone.keras_networks.cuts import nodes_of
from featurebank.backbone.keras_networks.initial_weights import restore_initializers, zeros_at_first
from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.keras_networks.taps import tap_tensors
from featurebank.backbone.network import Backbone
from featurebank.backbone.outline import LayerFacts, Outline
from featurebank.backbone.structure.nodes import useful_cuts
from featurebank.backbone.taps import MAP, POOLED, TOKENS
from featurebank.backbone.weights import random
from featurebank.errors import ConfigError, WeightsError
from featurebank.system.progress import step
from featurebank.system.runtime import import_tensorflow


class KerasBackbone(Backbone):
    """A network of Keras: it can be cut, joined with a head, and trained."""

    form: ClassVar[str] = "keras"
    libraries: ClassVar[tuple[str, ...]] = ("keras",)
    spec: KerasSpec
    _classifier: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Excludes the built networks from pickles: a worker builds its own."""
        return {**super().__getstate__(), "_classifier": None}

    def network(self) -> Any:
        """Returns the network; see `Backbone.network`. That of a transformer ends in its pooled vector, (n, d)."""
        if self._network is None:
            with step(f"building {self.name}"):
                self._network = self._load_network()
        return self._network

    def tap_model(self, taps: Sequence[str]) -> Any:
        """Builds a model that outputs several taps at once; see `Backbone.tap_model`."""
        import keras

        network = self.network()
        tensors = tap_tensors(
            network, taps, self._shapes(), self.spec.layers_hint, tokens_layer=self.spec.tokens_layer,
            normalizes_average=self.spec.normalizes_average,
        )  # fmt: skip
        return keras.Model(network.input, tensors, name=f"{self.name}_taps")

    def outline(self) -> Outline:
        """Returns the shapes of the layers and the cut points; see `Backbone.outline`."""
        nodes = nodes_of(self.network())
        work = sum(node.work for node in nodes)
        return replace(self._shapes(), cuts=tuple(useful_cuts(nodes)), multiply_adds=work)

    def _shapes(self) -> Outline:
        """Returns the outline without its cut points."""
        network = self.network()
        # A layer with several outputs cannot be a tap, and the words of the grammar precede the names of layers.
        outputs = {one.name: one.output.shape for one in network.operations if hasattr(one.output, "shape")}
        outputs.pop(POOLED, None)
        if self.spec.tokens_layer:
            outputs |= {TOKENS: outputs[self.spec.tokens_layer], POOLED: network.output.shape}
        else:
            outputs[MAP] = network.output.shape
        shapes = {name: tuple(shape[1:]) for name, shape in outputs.items()}
        return Outline((), shapes, self.spec.token_layout(self.image_size))

    def layers(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the layers of the network, each with the shape of its output for one image."""
        operations = [one for one in self.network().operations if hasattr(one.output, "shape")]
        return [(one.name, tuple(one.output.shape[1:])) for one in operations]

    def layer_facts(self) -> list[LayerFacts]:
        """Returns the layers with their classes and numbers of weights; see `Backbone.layer_facts`."""
        operations = {one.name: one for one in self.network().operations}
        return [
            LayerFacts(name, shape, type(operations[name]).__name__, _parameters(operations[name]))
            for name, shape in self.layers()
        ]

    def classifier(self) -> Any:
        """Returns the network with its own classifier, usually for ImageNet; the first call builds it.

        Returns:
            A frozen Keras model: (n, s, s, 3) float32 RGB 0..255 -> (n, 1000) float32 probabilities.

        Raises:
            ConfigError: the classifier of this network works only at its own image size.
            WeightsError: the weights are missing, or have no classifier.
        """
        if self._classifier is None:
            fixed = self.spec.has_fixed_classifier and self._source.seed is None
            if fixed and self.image_size != self.spec.image_size:
                message = (
                    f"the classifier of {self.name} flattens the map of {self.spec.image_size} pixels, "
                    f"got image size {self.image_size}: leave --image-size out"
                )
                raise ConfigError(message)
            self._classifier = self._load(self.image_size, top=True)
        return self._classifier

    def _load_network(self) -> Any:
        try:
            return self._load(self.image_size, top=False)
        except WeightsError as error:
            if self._source.file is None:
                raise
            return self._without_classifier(error)

    def _without_classifier(self, reason: WeightsError) -> Any:
        """Extracts the network from a user's file that may include the classifier; else raises `reason`."""
        try:
            whole = self._load(self.spec.image_size, top=True)
            model = self._finished(self.image_size, top=False, load=lambda _: None)
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights(whole.get_layer(layer.name).get_weights())
        except (WeightsError, ValueError):
            raise reason from None
        model.trainable = False
        return model

    def _load(self, image_size: int, *, top: bool) -> Any:
        """Builds the network and loads its weights."""
        source = self._source
        if source.seed is None:
            model = self._finished(image_size, top=top, load=lambda new: self.spec.load(new, source.file, top=top))
        else:
            model = self._finished(image_size, top=top, load=lambda _: None)
            random.fill_with_random(model, source.seed, is_transformer=bool(self.spec.tokens_layer))
        model.trainable = False
        return model

    def _finished(self, image_size: int, *, top: bool, load: Callable[[Any], None]) -> Any:
        """Builds the network, loads weights into it, and brings it into its final form."""
        import_tensorflow()  # before Keras imports it, so that its log lines are hidden
        with zeros_at_first() if self.spec.replaces_weights else nullcontext():
            model = self._build(image_size, top=top)
            load(model)
            model = self.spec.finish(model)
        restore_initializers(model)
        return model

    def _build(self, image_size: int, *, top: bool) -> Any:
        import keras

        inputs = keras.Input((image_size, image_size, 3), name="image")
        prepared = preprocess.prepare(inputs, self.spec.preprocessing)
        # Keras's own networks have a list of one input, and would warn at every call with a bare tensor; ours do not.
        return keras.Model(inputs, self.spec.build(prepared, top=top), name=self.name)


def _parameters(operation: Any) -> int:
    """Returns the number of weights of a layer; an operation has none."""
    return int(operation.count_params()) if hasattr(operation, "count_params") else 0
