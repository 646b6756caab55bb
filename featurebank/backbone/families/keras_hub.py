"""Networks of KerasHub, as keras_hub:PRESET: flat graphs whose layers have KerasHub's names, with its preprocessing."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from featurebank.backbone.keras_networks.graph import name_as_in_new_process
from featurebank.backbone.keras_networks.hub import downloads
from featurebank.backbone.keras_networks.hub.kinds import KINDS, HubKind
from featurebank.backbone.keras_networks.hub.library import FAMILIES, PACKAGE, import_keras_hub
from featurebank.backbone.keras_networks.hub.presets import (
    Architecture,
    Preset,
    find_preset,
    listed_presets,
    recorded_architecture,
)
from featurebank.backbone.keras_networks.network import KerasBackbone
from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.keras_networks.unfold import unfold
from featurebank.backbone.libraries import LibraryEntry
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import DECLARED, INSIDE, normalizing
from featurebank.backbone.resize import WHOLE, central
from featurebank.backbone.spec import IMAGENET
from featurebank.backbone.taps import ATTENTION, CLASS_TOKEN, MEAN_OF_PATCHES
from featurebank.backbone.weights.files import file_digest, load_keras
from featurebank.errors import ConfigError, WeightsError
from featurebank.system import digest

PRETRAINED = "pretrained"
"""The word for the weights that a preset was published with."""
_SCHEME = "v1"
"""Part of every recipe; raise it whenever a network is built differently."""
_SMALLEST = 32


class HubBackbone(KerasBackbone):
    """A network of KerasHub; see `KerasBackbone`."""

    libraries: ClassVar[tuple[str, ...]] = ("keras", "keras-hub")


@dataclass(frozen=True)
class HubNetwork(KerasSpec):
    """A preset of KerasHub.

    Args:
        known_as: its name for `load_backbone`, as "keras_hub:vit_base_patch16_224_imagenet".
        preset: its entry in KerasHub's lists.
        arguments: the arguments of its class, without the image size.
        own_rule: the resize rule of its image converter.
    """

    known_as: str
    preset: Preset
    arguments: Mapping[str, Any] = field(repr=False, hash=False)
    own_rule: str

    default_weights: ClassVar[str] = PRETRAINED
    replaces_weights: ClassVar[bool] = False

    @property
    def kind(self) -> HubKind:
        """What its family has in common."""
        return KINDS[self.preset.family]

    @property
    def identity(self) -> str:
        """The architecture in recipes: the class and its arguments, whatever the version of KerasHub."""
        return f"{PACKAGE}:{self.kind.constructor}:{digest.of_recipe(dict(self.arguments))}:{_SCHEME}"

    @property
    def resize_rule(self) -> str:
        """The rule of the preset's image converter, with antialiasing."""
        return self.own_rule

    @property
    def pooling(self) -> str:
        """What KerasHub's own classifier or pooling head of this architecture takes."""
        return self.kind.pooling

    @property
    def tokens_layer(self) -> str:
        """The last normalisation of a transformer."""
        return self.kind.tokens_layer

    def token_layout(self, image_size: int) -> TokenLayout | None:
        """Returns how the tokens are arranged."""
        return self.kind.layout(self.arguments, image_size)

    @property
    def sizes(self) -> str:
        """Which image sizes the network takes, in a few words."""
        step = self.kind.step_of(self.arguments)
        return f"any multiple of {step} pixels" if step > 1 and not self.kind.is_fixed else super().sizes

    @property
    def layers_hint(self) -> str:
        """How to list the names of its layers, for messages."""
        return f"'featurebank backbones {self.known_as} --layers' lists them"

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; see `KerasSpec.build`."""
        if top:
            message = f"{self.known_as} has no classifier: KerasHub's backbones end before it"
            raise ConfigError(message)
        return self._add(self._tower(int(prepared.shape[1])), prepared)[0]

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Loads weights in KerasHub's format, or in that of the flat network; see `KerasSpec.load`."""
        size = int(model.input.shape[1])
        if path is None:
            whole, tower = self._downloadable(size)
            load_keras(whole, self.own_file(top=top), self.known_as, top=top)
            self._transfer(tower, model)
            return
        tower = self._tower(size)
        try:
            load_keras(tower, path, self.known_as, top=top)
        except WeightsError:
            load_keras(model, path, self.known_as, top=top)
        else:
            self._transfer(tower, model)

    def weights_file(self, *, top: bool = False) -> str:
        """Returns KerasHub's name of the weights file."""
        return downloads.WEIGHTS

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the preset's weights; downloads missing ones."""
        return downloads.fetch_weights(self.preset)[0]

    def own_digest(self) -> str:
        """Returns the digest of the preset's weights, of all parts if there are several."""
        first, *parts = (file_digest(file) for file in downloads.fetch_weights(self.preset))
        return digest.of_recipe([first, *parts]) if parts else first

    @property
    def must_download(self) -> bool:
        """Whether the weights are not in the cache of Kaggle's client."""
        return not downloads.is_downloaded(self.preset)

    def _tower(self, image_size: int) -> Any:
        """Builds KerasHub's own network."""
        shape = {self.kind.image_argument: (image_size, image_size, 3)}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"[\s\S]*passed an input with a mask")  # Swin's attention handles its own
            return self._class(self.kind.constructor)(**self.arguments, **shape, dtype="float32")

    def _downloadable(self, image_size: int) -> tuple[Any, Any]:
        """Builds the network that the preset's weights file is of, and the image network within; often the same."""
        tower = self._tower(image_size)
        if not self.kind.whole:
            return tower, tower
        config = downloads.whole_configuration(self.preset)
        text = config["text_encoder"]
        of_text = self._class(self.kind.whole.replace("Backbone", "TextEncoder"))
        options = {name: value for name, value in text["config"].items() if name not in {"dtype", "name", "trainable"}}
        others = {name: config[name] for name in ("projection_dim",) if name in config}
        whole = self._class(self.kind.whole)(tower, of_text(**options, dtype="float32"), **others, dtype="float32")
        return whole, tower

    @staticmethod
    def _class(name: str) -> Any:
        return getattr(import_keras_hub().models, name)

    def _transfer(self, tower: Any, model: Any) -> None:
        """Copies the weights of KerasHub's network to the layers of the same names."""
        import keras

        image = keras.Input(tower.inputs[0].shape[1:], name="image")
        for original, copy in self._add(tower, image)[1]:
            if getattr(original, "weights", None):
                model.get_layer(copy.name).set_weights(original.get_weights())

    def _add(self, tower: Any, tensor: Any) -> tuple[Any, list[tuple[Any, Any]]]:
        """Adds copies of the layers of KerasHub's network to a graph, and the pooling."""
        import keras

        output = tower.output[self.kind.output] if self.kind.output else tower.output
        plain = keras.Model(tower.inputs[0], output)
        name_as_in_new_process(plain)
        output, copies = unfold(plain, tensor)
        if self.pooling in {"", ATTENTION}:  # the attention pooling is a layer of the network
            return output, copies
        layout, width = self.token_layout(int(tensor.shape[1])), output.shape[-1]
        assert layout is not None, f"{self.known_as} pools tokens"
        if self.pooling == CLASS_TOKEN:
            row = keras.layers.Cropping1D((0, layout.count - 1), name="class_token_row")(output)
            return keras.layers.Reshape((width,), name="class_token")(row), copies
        assert self.pooling == MEAN_OF_PATCHES, self.pooling
        return keras.layers.GlobalAveragePooling1D(name="mean_of_patches")(output), copies


def load(name: str, options: BackboneOptions) -> Backbone:
    """Returns a preset of KerasHub as a backbone; see `libraries.Library.load`."""
    preset, known_as = find_preset(name), f"{PACKAGE}:{name}"
    weights = None if options.weights in {IMAGENET, PRETRAINED, name} else options.weights
    architecture = recorded_architecture(preset) if weights else downloads.fetch_architecture(preset)
    spec = _spec(preset, known_as, architecture)
    if options.preprocessing is not None and DECLARED.get(options.preprocessing) != spec.preprocessing:
        message = f"{known_as} has its own preprocessing, got '{options.preprocessing}': leave --preprocessing out"
        raise ConfigError(message)
    return HubBackbone.of_options(spec, options, _checked_size(spec, options.image_size), weights=weights)


def search(pattern: str) -> list[LibraryEntry]:
    """Returns the presets whose names match; see `libraries.Library.search`."""
    return [
        LibraryEntry(f"{PACKAGE}:{name}", (PRETRAINED,), preset.description)
        for name, preset in sorted(listed_presets().items())
        if preset.family in FAMILIES and fnmatch.fnmatchcase(name, pattern)
    ]


def _spec(preset: Preset, known_as: str, architecture: Architecture) -> HubNetwork:
    form, interpolation = architecture.resize.split()
    raw = architecture.mean == (0, 0, 0) and all(abs(255 * one - 1) < 1e-6 for one in architecture.deviation)  # noqa: PLR2004
    kind = KINDS[preset.family]
    size = architecture.image_size
    return HubNetwork(
        known_as.replace(":", "."),
        size,
        size if kind.is_fixed else max(_SMALLEST, kind.step_of(architecture.arguments)),
        architecture.channels,
        architecture.parameters,
        INSIDE if raw else normalizing(architecture.mean, architecture.deviation),
        known_as,
        preset,
        architecture.arguments,
        _resize_rule(form, size, interpolation),
    )


def _resize_rule(form: str, size: int, interpolation: str) -> str:
    """Returns the rule of an image converter, with antialiasing, which the networks were trained with."""
    if form == "stretch":
        return central("stretch", size, interpolation)
    return WHOLE if interpolation == "bicubic" else central("shorter", size, interpolation)


def _checked_size(spec: HubNetwork, image_size: int | None) -> int:
    """Returns the image size.

    Raises:
        ConfigError: the network has position embeddings of one size, or its patches do not fill the image.
    """
    size, step = spec.image_size if image_size is None else image_size, spec.kind.step_of(spec.arguments)
    if spec.kind.is_fixed and size != spec.image_size:
        message = (
            f"image size {size} for {spec.known_as}: its positions are fixed for {spec.image_size} pixels: leave "
            "--image-size out, or take a network that adapts them, as keras_hub:dinov2_small"
        )
        raise ConfigError(message)
    if size < spec.minimum_size or size % step:
        multiple = f"a multiple of {step} pixels" if step > 1 else "more pixels"
        message = f"image size {size} for {spec.known_as}: expected {multiple}, at least {spec.minimum_size}"
        raise ConfigError(message)
    return size
