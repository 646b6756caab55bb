"""Custom networks as backbones: checked, flattened, cut at the last map, and identified by what they compute."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from featurebank.backbone.families.functions import function_codes
from featurebank.backbone.families.user_checks import checked_model, input_size
from featurebank.backbone.keras_networks.cuts import nodes_of
from featurebank.backbone.keras_networks.graph import name_as_in_new_process, output_of
from featurebank.backbone.keras_networks.network import KerasBackbone
from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.keras_networks.tokens import NetworkTokens, tokens_of
from featurebank.backbone.keras_networks.unfold import unfold
from featurebank.backbone.naming import as_part_of_path
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.spec import OWN
from featurebank.backbone.structure.features import last_features
from featurebank.backbone.weights.files import first_line
from featurebank.errors import ConfigError, unknown_name
from featurebank.system import digest
from featurebank.system.runtime import import_tensorflow

_ADVICE = (
    "to have the features of an earlier layer, such as these, save keras.Model(model.input, "
    "model.get_layer('{layer}').output) as a network of its own"
)
_CHANNELS = 3
_RESCALES = ("Rescaling", "Normalization")
_WORKS = ("Conv", "Dense", "Depthwise", "Separable")
"""Prefixes of the layer classes that end a network's own preprocessing."""


@dataclass(frozen=True)
class UserNetwork(KerasSpec):
    """A custom functional Keras model.

    Args:
        origin: its name in messages, as "nets:build".
        known_as: the name for `featurebank backbones`; empty if only this process knows it.
        map_layer: the layer that outputs the last map or the tokens.
        after: the fraction of multiply-adds that follow that layer.
        architecture: the digest of the layers and their connections.
        weights_digest: the digest of the weights.
        model: a flat copy, without preprocessing, for images of `image_size`.
        tokens: how its tokens are arranged and pooled; None if its last features are a map.
        any_size: whether the model, or the function that makes it, leaves the image size open.
    """

    origin: str
    known_as: str
    map_layer: str
    after: float
    architecture: str
    weights_digest: str
    model: Any = field(repr=False, compare=False)
    tokens: NetworkTokens | None = None
    any_size: bool = False

    suffixes: ClassVar[tuple[str, ...]] = ()
    default_weights: ClassVar[str] = OWN
    replaces_weights: ClassVar[bool] = False

    @property
    def identity(self) -> str:
        """The digest of the architecture, so that an edited network is a different one."""
        return f"user:{self.architecture}"

    @property
    def sizes(self) -> str:
        """Which image sizes the network takes; see `BackboneSpec`."""
        return "the image size can be chosen" if self.any_size else "fixed image size"

    @property
    def pooling(self) -> str:
        """How the tokens are pooled; see `BackboneSpec`."""
        return self.tokens.pooling if self.tokens else ""

    @property
    def tokens_layer(self) -> str:
        """The layer of all tokens; see `KerasSpec`."""
        return self.tokens.layer if self.tokens else ""

    def token_layout(self, image_size: int) -> TokenLayout | None:
        """Returns how the tokens are arranged; see `KerasSpec`."""
        return self.tokens.layout if self.tokens else None

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return "in the model"

    @property
    def layers_hint(self) -> str:
        """How to list the names of its layers, for messages."""
        return (
            f"'featurebank backbones {self.known_as} --layers' lists them"
            if self.known_as
            else "its layers() lists them"
        )

    @property
    def note(self) -> str:
        """The layer that was chosen as the map or as the tokens."""
        shape = " x ".join(map(str, output_of(self.model, self.map_layer).shape[1:]))
        if self.tokens:
            maker = f"the output of '{self.tokens.pooled}'" if self.tokens.pooled else "the network pools none itself"
            tokens = f"tokens of {self.name}: the output of '{self.map_layer}', {shape}"
            return f"{tokens}; pooled: {self.tokens.pooling}, {maker}"
        left_out = f"; {100 * self.after:.1f} % of the work follows it and is omitted" if self.after else ""
        return f"map of {self.name}: the output of '{self.map_layer}', {shape}{left_out}"

    @property
    def caution(self) -> str:
        """Warns if pixels are rescaled twice."""
        layer = next((layer for layer in self.model.layers if type(layer).__name__ in _RESCALES), None)
        if layer is None or self.preprocessing == DECLARED["none"] or not _comes_first(self.model, layer):
            return ""
        word = next(word for word, rule in DECLARED.items() if rule == self.preprocessing)
        return (
            f"{self.name} rescales its input itself ('{layer.name}'), and preprocessing '{word}' precedes that: "
            "use --preprocessing none unless both are intended"
        )

    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network to a graph; the classifier is everything after the last map or the pooled vector."""
        last = self.tokens.pooled if self.tokens and self.tokens.pooled else self.map_layer
        if top and self.model.output is output_of(self.model, last):
            what = "tokens or their pooled vector" if self.tokens else "last map"
            message = f"{self.origin} has no classifier: it ends in its {what}, '{last}'"
            raise ConfigError(message)
        return _unfold_with_weights(self.model if top else _trunk(self.model, self.map_layer, self.tokens), prepared)

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Does nothing: the network is built with the only weights that it can have."""

    def weights_file(self, *, top: bool = False) -> None:
        """Returns None: the weights are in the model."""

    def own_file(self, *, top: bool) -> NoReturn:
        """Raises ConfigError: the weights are in the model."""
        message = f"the weights of {self.origin} are in the model: there is no file of them"
        raise ConfigError(message)

    def own_digest(self) -> str:
        """Returns the digest of the weights that the model had when it became a backbone."""
        return self.weights_digest

    def __getstate__(self) -> dict[str, Any]:
        """Pickles the model as its configuration, its weights and the classes of its layers."""
        classes = {type(layer).__name__: type(layer) for layer in self.model.layers}
        model = (self.model.get_config(), self.model.get_weights(), classes)
        return {**self.__dict__, "model": model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores the model."""
        import_tensorflow()
        import keras

        config, weights, classes = state.pop("model")
        model = keras.Model.from_config(config, custom_objects=classes)
        model.set_weights(weights)
        self.__dict__.update(state, model=model)


def make_backbone(
    model: Any, preprocessing: str, *, origin: str, known_as: str, image_size: int | None, weights: str | None = None,
    resize: str | None = None, levels: str | None = None, is_sized: bool = False,
) -> Backbone:  # fmt: skip
    """Turns a model into a backbone; see `featurebank.backbone_from_model` and `UserNetwork`.

    Args:
        model: the model.
        preprocessing: the user's word for what it expects.
        origin: its name in messages.
        known_as: the name for `featurebank backbones`.
        image_size: the side of the images; None for that of the model.
        weights: "own" or "random:SEED".
        resize: the word for a resize rule.
        levels: the range of grey images of more than eight bits.
        is_sized: whether the function that made the model takes an image size.
    """
    if preprocessing not in DECLARED:
        raise unknown_name("preprocessing", str(preprocessing), DECLARED)
    import_tensorflow()
    size = input_size(checked_model(model, origin), origin, image_size)
    flat = _flat_copy(model, origin, size)
    features = last_features(nodes_of(flat), origin, _ADVICE)
    cut, tokens = features.last, tokens_of(flat, features) if features.are_tokens else None
    trunk = _trunk(flat, cut.name, tokens)
    architecture = _architecture(trunk, function_codes(trunk, origin))
    spec = UserNetwork(
        as_part_of_path(Path(origin).stem if origin.endswith(".keras") else origin.replace(":", ".")),
        size, size, trunk.output.shape[-1], trunk.count_params(), DECLARED[preprocessing], origin, known_as, cut.name,
        cut.remaining_work, architecture, digest.of_recipe([digest.of_array(w) for w in trunk.get_weights()]),
        flat, tokens, is_sized or model.inputs[0].shape[1] is None,
    )  # fmt: skip
    return KerasBackbone.of_options(spec, BackboneOptions(resize=resize, levels=levels), size, weights=weights)


def _flat_copy(model: Any, origin: str, size: int) -> Any:
    """Copies a model so that all its layers are in one graph, with names that do not depend on other models."""
    import keras

    image = keras.Input((size, size, _CHANNELS), name="image")
    try:
        output = _unfold_with_weights(model, image)
    except ConfigError as error:
        message = f"{origin}: {error}"
        raise ConfigError(message) from error
    except (ValueError, TypeError) as error:
        message = f"{origin} cannot be built for {size} x {size} pixels ({first_line(error)}): use another image size"
        raise ConfigError(message) from error
    flat = keras.Model(image, output)
    name_as_in_new_process(flat)
    return flat


def _unfold_with_weights(model: Any, tensor: Any) -> Any:
    output, copies = unfold(model, tensor)
    for layer, copy in copies:
        if getattr(layer, "weights", None):
            copy.set_weights(layer.get_weights())
    return output


def _trunk(flat: Any, layer: str, tokens: NetworkTokens | None) -> Any:
    """Returns the network up to its last map, or up to the vector that it pools from its tokens."""
    import keras

    if tokens is None or tokens.pooled:
        return keras.Model(flat.input, output_of(flat, tokens.pooled if tokens else layer))
    patches = keras.layers.Cropping1D((tokens.layout.prefix, 0), name="patch_tokens")(output_of(flat, layer))
    return keras.Model(flat.input, keras.layers.GlobalAveragePooling1D(name="mean_of_patches")(patches))


def _comes_first(model: Any, layer: Any) -> bool:
    names = [type(one).__name__ for one in model.layers[: model.layers.index(layer)]]
    return not any(name.startswith(_WORKS) for name in names)


def _architecture(trunk: Any, codes: dict[str, str]) -> str:
    """Returns the digest of what a network computes, without its weights, its name and its `trainable` flags.

    Args:
        trunk: the network.
        codes: source code of the custom functions that it calls; see `function_codes`.
    """
    config = json.loads(trunk.to_json())["config"]
    layers = [
        {**layer, "config": {k: v for k, v in layer["config"].items() if k != "trainable"}}
        for layer in config["layers"]
    ]
    parts = [layers, config["output_layers"], *([codes] if codes else [])]
    return digest.of_bytes(json.dumps(parts, sort_keys=True).encode())
