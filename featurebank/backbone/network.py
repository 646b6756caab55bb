"""A backbone: a network, its weights, its preprocessing and its input size, as one object with one digest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import LayerFacts, Outline
from featurebank.backbone.resize import AUTO, resize_image, rule_of
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.taps import Tap, parse_tap, plain
from featurebank.backbone.weights.source import Source, digest_of, parse_source
from featurebank.dataset.decoding.levels import Levels, parse_levels
from featurebank.errors import ConfigError
from featurebank.system import digest

FORMS = {"keras": "Keras", "pytorch": "PyTorch", "openvino": "OpenVINO"}
"""What a network can be made in: the values of `Backbone.form`, each with its name in sentences."""


class Backbone(ABC):
    """A frozen network that turns images into features.

    `load_network` creates it. The network is built on first use only: `recipe`, `digest`, `resize` and `check_tap`
    import neither TensorFlow nor Keras (unless the recipe first has to download ImageNet weights, most of them by
    Keras). There is one subclass for each kind of network; only a network of Keras has `network`, `tap_model` and
    `classifier`, which can be trained and joined with a head layer by layer.

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

    form: ClassVar[str]
    """What the network is made in: "keras", "pytorch" or "openvino". It decides which engines can run it."""
    libraries: ClassVar[tuple[str, ...]]
    """The packages whose versions decide how its layers are called."""

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

    @classmethod
    def of_options(
        cls, spec: BackboneSpec, options: BackboneOptions, image_size: int, *, weights: str | None,
        own_rule: str | None = None,
    ) -> Self:  # fmt: skip
        """Makes a backbone from the user's options.

        Args:
            spec: the specification of the network.
            options: its `resize` and `levels` are used.
            image_size: the side of the square input in pixels.
            weights: see `parse_source`; None means the network's own.
            own_rule: how images become square unless the options decide; by default, as the specification says.

        Raises:
            UnknownNameError, ConfigError: an option does not fit the network.
            WeightsError: the weights file does not exist.
        """
        source, rule = parse_source(weights, spec), rule_of(options.resize, own_rule or spec.resize_rule)
        shown, levels = str(weights or spec.default_weights), parse_levels(options.levels)
        return cls(spec, shown, source, image_size, resize_rule=rule, levels=levels)

    def __repr__(self) -> str:
        return f"<Backbone {self.name}, weights {self.weights}, {self.image_size} px>"

    def __getstate__(self) -> dict[str, Any]:
        """Excludes the built network from pickles: a worker builds its own."""
        return {**self.__dict__, "_network": None}

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
            **({"pooling": self.spec.pooling} if self.spec.pooling else {}),
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

        Example:
            >>> fb.load_backbone("vgg16", weights="random:0").resize(np.zeros((300, 400, 3), np.uint8)).shape
            (224, 224, 3)
        """
        return resize_image(image, self.image_size, self.resize_rule)

    def check_tap(self, tap: str) -> None:
        """Checks the syntax of a tap; only the built network knows whether the layer exists.

        Raises:
            ConfigError: the tap is malformed.
        """
        parse_tap(tap)

    def plain_tap(self, tap: str) -> Tap:
        """Parses a tap; "pooled" is ("map", "avg") if the network pools that way; see `featurebank.backbone.taps`."""
        return plain(tap, averages=self.spec.averages_map)

    @property
    def is_built(self) -> bool:
        """Whether the network has been built in this process."""
        return self._network is not None

    @abstractmethod
    def outline(self) -> Outline:
        """Returns the shapes of the layers and the cut points; builds the network.

        Raises:
            WeightsError: the weights are missing, unreadable or of another network.
        """

    @abstractmethod
    def layers(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the layers of the network, each with the shape of its output for one image."""

    def layer_facts(self) -> list[LayerFacts]:
        """Returns the layers of the network with what is known of each, for people."""
        return [LayerFacts(name, shape) for name, shape in self.layers()]

    def network(self) -> Any:
        """Returns the network, if it is one of Keras; the first call builds it.

        Returns:
            A frozen functional Keras model: (n, s, s, 3) float32 RGB 0..255 -> the last map, (n, h, w, c) float32; of a
            transformer, the pooled vector, (n, d).

        Raises:
            ConfigError: the network is not one of Keras.
            WeightsError: the weights are missing, unreadable or of another network.
        """
        self._refuse_keras()

    def tap_model(self, taps: Sequence[str]) -> Any:
        """Builds a Keras model that outputs several taps at once and ends at the last layer that they need.

        Args:
            taps: see `featurebank.backbone.taps`.

        Returns:
            A Keras model: the input of `network()` -> a dictionary from each tap, as given, to its tensor.

        Raises:
            ConfigError: the network is not one of Keras, there is no tap, or a tap is malformed or does not fit.
            UnknownNameError: no layer has this name.
        """
        self._refuse_keras()

    def classifier(self) -> Any:
        """Returns the network with its own classifier, usually for ImageNet; the first call builds it.

        Returns:
            A frozen Keras model: (n, s, s, 3) float32 RGB 0..255 -> (n, 1000) float32 probabilities.

        Raises:
            ConfigError: the network is not one of Keras, or its classifier works only at its own image size.
            WeightsError: the weights are missing, or have no classifier.
        """
        self._refuse_keras()

    def _refuse_keras(self) -> NoReturn:
        message = (
            f"{self.name} is a network of {FORMS[self.form]}, and this needs one of Keras, whose layers can be "
            "trained: train heads on its features and export them with it, or take a network of Keras (keras_hub:NAME, "
            "or one of 'featurebank backbones')"
        )
        raise ConfigError(message)
