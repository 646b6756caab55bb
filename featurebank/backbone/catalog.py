"""The known backbones, and `load_network`."""

from __future__ import annotations

from dataclasses import replace

from featurebank.backbone.families.foreign import refuse_foreign
from featurebank.backbone.families.openvino_files import load_model_file
from featurebank.backbone.families.user_source import load_user_network
from featurebank.backbone.keras_networks.network import KerasBackbone
from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.libraries import LIBRARIES
from featurebank.backbone.naming import LIBRARY_WORDS, OPENVINO_SUFFIXES, is_user_network, library_of
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.preprocess import DECLARED, INSIDE
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.table import TABLE
from featurebank.errors import ConfigError, unknown_name


def known_backbones() -> list[BackboneSpec]:
    """Returns the known backbones, the default first."""
    return list(TABLE.values())


def load_network(name: str, options: BackboneOptions) -> Backbone:
    """Returns a backbone; see `featurebank.load_backbone`."""
    if library := library_of(name):
        return LIBRARIES[library].load(name.partition(":")[2], options)
    if name not in TABLE:
        refuse_foreign(name)
    if name.endswith(OPENVINO_SUFFIXES):
        return load_model_file(name, options)
    if is_user_network(name):
        return load_user_network(name, options)
    if name not in TABLE:
        sources = ", ".join(f"{word}:NAME" for word in LIBRARY_WORDS)
        hint = (
            "'featurebank backbones' lists them; networks of other libraries are "
            f"{sources}, a custom one is MODULE:FUNCTION or a model file"
        )
        raise unknown_name("backbone", name, TABLE, hint)
    own, other = TABLE[name], options.preprocessing
    spec = own if other is None else _prepared_otherwise(own, other)
    size = options.checked_size(spec.image_size, spec.minimum_size, name)
    return KerasBackbone.of_options(spec, options, size, weights=options.weights)


def _prepared_otherwise(spec: KerasSpec, preprocessing: str) -> KerasSpec:
    """Returns a network of the list with another preprocessing than the published one.

    Raises:
        UnknownNameError: there is no such preprocessing.
        ConfigError: the network contains its preprocessing.
    """
    if preprocessing not in DECLARED:
        raise unknown_name("preprocessing", preprocessing, DECLARED)
    rule = DECLARED[preprocessing]
    if rule == spec.preprocessing:
        return spec
    if spec.preprocessing == INSIDE:
        message = f"{spec.name} contains its preprocessing, got preprocessing '{preprocessing}': leave it out"
        raise ConfigError(message)
    return replace(spec, preprocessing=rule, made_for=spec.preprocessing)
