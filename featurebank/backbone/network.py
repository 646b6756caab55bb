"""A backbone: a network, its weights, its preprocessing and its input size, as one object with one digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.backbone import preprocess
from featurebank.backbone.resize import AUTO, resize_image
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.taps import parse_tap, tap_tensors
from featurebank.backbone.weights import random
from featurebank.backbone.weights.source import Source, digest_of
from featurebank.dataset.decoding.levels import Levels
from featurebank.errors import ConfigError, WeightsError
from featurebank.system import digest
from featurebank.system.progress import step
from featurebank.system.runtime import import_tensorflow


class Backbone:
    """A frozen network that turns images into features.

    `load_network` creates it. The network is built on first use only: `recipe`, `digest`, `resize` and `check_tap`
    import neither TensorFlow nor Keras (unless the recipe first has to download ImageNet weights, most of them by
    Keras).

    Args:
        spec: the specification of the network.
        weights: the weights as the user specified them.
        source: the same, parsed.
        image_size: the side of the square input in pixels.
        resize_rule: how images become square: an identifier of `featurebank.backbone.resize`.
        levels: the range of grey images of more than eight bits; None keeps the upper eight.

    Example:
        >>> backbone = fb.load_backbone("resnet50", weights="random:0")
        >>> backbone, backbone.resize(np.zeros((480, 640, 3), np.uint8)).shape
        (<Backbone resnet50, weights random:0, 224 px>, (224, 224, 3))
        >>> network = fb.load_backbone("my_networks:small").tap_model(["pooled"])
        >>> network(np.zeros((2, 32, 32, 3)))["pooled"].shape
        TensorShape([2, 16])
    """

    def __init__(
        self, spec: BackboneSpec, weights: str, source: Source, image_size: int, *, resize_rule: str = AUTO,
        levels: Levels | None = None,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.name = spec.name
        self.weights = weights
        self.image_size = image_size
        self.resize_rule = resize_rule
        self.levels = levels
        self._source = source
        self._network: Any = None
        self._classifier: Any = None

    def __repr__(self) -> str:
        return f"<Backbone {self.name}, weights {self.weights}, {self.image_size} px>"

    def __getstate__(self) -> dict[str, Any]:
        """Excludes the built networks from pickles: a worker builds its own."""
        return {**self.__dict__, "_network": None, "_classifier": None}

    @property
    def recipe(self) -> dict[str, str | int]:
        """Everything that the features depend on, by part.

        Raises:
            WeightsError: the weights file is missing and cannot be downloaded.
        """
        return {
            "backbone": self.name,
            "architecture": self.spec.identity,
            "weights": digest_of(self._source, self.spec),
            "preprocessing": self.spec.preprocessing,
            "image_size": self.image_size,
            "resize": self.resize_rule,
            **({"levels": self.levels.text} if self.levels else {}),
        }

    @property
    def must_download(self) -> bool:
        """Whether the weights are not yet on this machine, so that `recipe` downloads them."""
        return self._source == Source() and self.spec.must_download

    @property
    def digest(self) -> str:
        """The digest of the recipe, 32 hexadecimal digits."""
        return digest.of_recipe(self.recipe)

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Resizes an image to the input size.

        Args:
            image: (height, width, 3) uint8, RGB.

        Returns:
            (image_size, image_size, 3) uint8.

        Raises:
            DatasetError: the array is not an RGB image in uint8.
        """
        return resize_image(image, self.image_size, self.resize_rule)

    def check_tap(self, tap: str) -> None:
        """Checks the syntax of a tap; only the built network knows whether the layer exists.

        Raises:
            ConfigError: the tap is malformed.
        """
        parse_tap(tap)

    @property
    def is_built(self) -> bool:
        """Whether the network has been built in this process."""
        return self._network is not None

    def network(self) -> Any:
        """Returns the network; the first call builds it.

        Returns:
            A frozen functional Keras model: (n, s, s, 3) float32 RGB 0..255 -> the last map, (n, h, w, c) float32.

        Raises:
            WeightsError: the weights are missing, unreadable or of another network.
        """
        if self._network is None:
            with step(f"building {self.name}"):
                self._network = self._load_network()
        return self._network

    def tap_model(self, taps: Sequence[str]) -> Any:
        """Builds a model that outputs several taps at once and ends at the last layer that they need.

        Args:
            taps: "pooled", "map", "LAYER", or "LAYER:avg", "LAYER:max" ("map:max" too).

        Returns:
            A Keras model: the input of `network()` -> a dictionary from each tap, as given, to its tensor.

        Raises:
            ConfigError: there is no tap, a tap is malformed, or it pools an output without spatial axes.
            UnknownNameError: no layer has this name.
        """
        import keras

        network = self.network()
        tensors = tap_tensors(network, taps, self.spec.layers_hint, normalizes_average=self.spec.normalizes_average)
        return keras.Model(network.input, tensors, name=f"{self.name}_taps")

    def layers(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the layers of the network, each with the shape of its output for one image."""
        return [(layer.name, tuple(layer.output.shape[1:])) for layer in self.network().layers]

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
            model = self.spec.finish(self._build(self.image_size, top=False))
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights(whole.get_layer(layer.name).get_weights())
        except (WeightsError, ValueError):
            raise reason from None
        model.trainable = False
        return model

    def _load(self, image_size: int, *, top: bool) -> Any:
        """Builds the network and loads its weights."""
        model = self._build(image_size, top=top)
        if self._source.seed is None:
            self.spec.load(model, self._source.file, top=top)
        model = self.spec.finish(model)
        if self._source.seed is not None:
            random.fill_with_random(model, self._source.seed)
        model.trainable = False
        return model

    def _build(self, image_size: int, *, top: bool) -> Any:
        import_tensorflow()  # before Keras imports it, so that its log lines are hidden
        import keras

        inputs = keras.Input((image_size, image_size, 3), name="image")
        prepared = preprocess.prepare(inputs, self.spec.preprocessing)
        # Keras's own networks have a list of one input, and would warn at every call with a bare tensor; ours do not.
        return keras.Model(inputs, self.spec.build(prepared, top=top), name=self.name)
