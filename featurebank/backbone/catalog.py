"""The known backbones, and `load_backbone`."""

from __future__ import annotations

import os
from dataclasses import replace

from featurebank.backbone.families.foreign import refuse_foreign
from featurebank.backbone.families.user_source import load_user_network
from featurebank.backbone.naming import is_user_network
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.preprocess import DECLARED, INSIDE
from featurebank.backbone.resize import rule_of
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.table import TABLE
from featurebank.backbone.weights.source import parse_source
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.errors import ConfigError, unknown_name


def list_backbones() -> list[BackboneSpec]:
    """Returns the known backbones, the default first.

    Example:
        >>> [spec.name for spec in list_backbones()][:2]
        ['efficientnet_lite0', 'efficientnet_lite1']
    """
    return list(TABLE.values())


def load_backbone(
    name: str, *, weights: str | None = None, image_size: int | None = None, preprocessing: str | None = None,
    resize: str | None = None, levels: str | None = None,
) -> Backbone:  # fmt: skip
    """Returns a backbone; for one of the list, neither TensorFlow nor Keras is imported.

    Args:
        name: one of `list_backbones()`; or MODULE:FUNCTION, a function without arguments or with `image_size` that
            returns a Keras model (it is called here); or the path of a .keras file.
        weights: "imagenet", "random:SEED", or the path of a weights file (.weights.h5, .h5 or .keras; for
            EfficientNet-Lite and SqueezeNet also PyTorch's .pth). None means "imagenet"; BaseNet has no such weights.
            A custom network has "own" (the default) and "random:SEED".
        image_size: the side of the square input in pixels; by default that of the ImageNet weights.
        preprocessing: for a custom network that does not declare it: "caffe", "mean", "tf", "torch", "0..1" or "none";
            see `backbone_from_model`. For a network of the list it replaces the published one, to compare the two.
        resize: how images become square: "auto" (the default) takes the central 7/8 of the shorter side, or all of it
            if the image is no larger than the input; "crop" always takes the central 7/8; "whole" takes all of the
            shorter side; "stretch" scales both sides to the input; "pad" shows the whole image on black.
        levels: the values that become black and white in grey images of more than eight bits: "LOW,HIGH", as "0,4095"
            for 12 bits, "auto" (each image's smallest and largest value) or "auto:1,99" (its percentiles). By default
            0 and 65535; images with other values are refused.

    Returns:
        The backbone; its network is built on first use.

    Raises:
        UnknownNameError: no backbone, preprocessing or resize rule has this name.
        ConfigError: the weights are none of these, the image size is below the network's minimum, or a custom network
            cannot be a backbone.
        WeightsError: the weights file does not exist, or a .keras file is damaged.

    Example:
        >>> load_backbone("efficientnet_lite0", image_size=64)
        <Backbone efficientnet_lite0, weights imagenet, 64 px>
    """
    path = os.fspath(weights) if isinstance(weights, os.PathLike) else weights
    options = BackboneOptions(
        weights=path, image_size=image_size, preprocessing=preprocessing, resize=resize, levels=levels
    )
    return load_network(name, options)


def load_network(name: str, options: BackboneOptions) -> Backbone:
    """Does what `load_backbone` does, with options that were checked before."""
    if name not in TABLE:
        refuse_foreign(name)
    if is_user_network(name):
        return load_user_network(name, options)
    if name not in TABLE:
        hint = "'featurebank backbones' lists them; a custom network is MODULE:FUNCTION or a .keras file"
        raise unknown_name("backbone", name, TABLE, hint)
    own, other = TABLE[name], options.preprocessing
    spec = own if other is None else _prepared_otherwise(own, other)
    size = spec.image_size if options.image_size is None else options.image_size
    if size < spec.minimum_size:
        message = (
            f"image size {size} for {name}: expected at least {spec.minimum_size} pixels; "
            f"leave it out for {spec.image_size}"
        )
        raise ConfigError(message)
    source = parse_source(options.weights, spec)
    return Backbone(
        spec,
        str(options.weights or spec.default_weights),
        source,
        size,
        resize_rule=rule_of(options.resize),
        levels=parse_levels(options.levels),
    )


def _prepared_otherwise(spec: BackboneSpec, preprocessing: str) -> BackboneSpec:
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
