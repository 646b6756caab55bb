"""Public functions that load backbones."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import Annotated, Any, TypeAlias, overload

from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import ImageSize, PathLike
from featurebank.api.display import showing
from featurebank.backbone import Backbone, BackboneOptions, known_backbones, load_network, make_backbone
from featurebank.backbone.libraries import LibraryEntry, find_networks
from featurebank.backbone.options import as_side
from featurebank.backbone.spec import BackboneSpec

KerasModel: TypeAlias = Annotated[
    Any, Accepts(lambda value: hasattr(value, "layers") and not isinstance(value, type)), "a Keras model"
]

__all__ = ["Backbone", "backbone_from_model", "list_backbones", "load_backbone"]


@overload
def list_backbones(*, source: None = None, pattern: str = "*") -> list[BackboneSpec]: ...


@overload
def list_backbones(*, source: str, pattern: str = "*") -> list[LibraryEntry]: ...


@checked
def list_backbones(*, source: str | None = None, pattern: str = "*") -> list[BackboneSpec] | list[LibraryEntry]:
    """Returns the known backbones, the default first; or the networks of another library.

    Args:
        source: "keras_hub", "timm", "torchvision" or "hf"; by default, the backbones of featurebank's own list.
        pattern: what the names match, with "*" for any characters, as "vit_small*".

    Returns:
        What is known of each without building it: its `name`, and for a network of a library the names of its
        `weights`, the default first, and a `note`.

    Raises:
        UnknownNameError: there is no such library, or no name matches.
        MissingDependencyError: the library is not installed.
        ConfigError: the networks of the library cannot be listed here.

    Example:
        >>> [spec.name for spec in list_backbones()][:2]
        ['efficientnet_lite0', 'efficientnet_lite1']
        >>> [spec.name for spec in list_backbones(pattern="vgg*")]
        ['vgg16', 'vgg19']

        With the extra "timm", `list_backbones(source="timm", pattern="vit_tiny*")` lists timm's tiny transformers.
    """
    if source is not None:
        return find_networks(source, pattern)
    return [spec for spec in known_backbones() if fnmatch.fnmatchcase(spec.name, pattern)]


@checked
def load_backbone(
    name: PathLike, *, weights: PathLike | None = None, image_size: ImageSize | None = None,
    preprocessing: str | None = None, resize: str | None = None, levels: str | None = None,
) -> Backbone:  # fmt: skip
    """Returns a backbone; for one of the list, neither TensorFlow nor Keras is imported.

    Args:
        name: one of `list_backbones()`; or MODULE:FUNCTION, a function without arguments or with `image_size` that
            returns a Keras model or a PyTorch module (it is called here); or a model file (.keras, .onnx, .xml); or
            "keras_hub:PRESET", "timm:NAME", "torchvision:NAME" or "hf:REPOSITORY", a network of another library.
        weights: "imagenet", "random:SEED", or the path of a weights file (.weights.h5, .h5 or .keras; for
            EfficientNet-Lite and SqueezeNet also PyTorch's .pth). None means "imagenet"; BaseNet has no such weights.
            A custom network has "own" (the default) and "random:SEED".
        image_size: the side of the square input in pixels, or (side, side); by default that of the ImageNet weights.
        preprocessing: for a custom network that does not declare it: "caffe", "mean", "tf", "torch", "0..1" or "none";
            see `backbone_from_model`. For a network of the list it replaces the published one, to compare the two.
        resize: how images become square. By default as the network's library does it; for those of `list_backbones()`
            that is "auto", which takes the central 7/8 of the shorter side, or all of it if the image is no larger than
            the input; "crop" always takes the central 7/8; "whole" takes all of the shorter side; "stretch" scales both
            sides to the input; "pad" shows the whole image on black.
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
        >>> load_backbone("resnet50", weights="random:0", image_size=(96, 96)).image_size
        96
    """
    options = BackboneOptions(
        weights=None if weights is None else os.fspath(weights), image_size=as_side(image_size),
        preprocessing=preprocessing, resize=resize, levels=levels,
    )  # fmt: skip
    with showing():  # weights are downloaded
        return load_network(os.fspath(name), options)


@checked
def backbone_from_model(
    model: KerasModel, *, preprocessing: str, name: str | None = None, image_size: ImageSize | None = None,
    resize: str | None = None, levels: str | None = None,
) -> Backbone:  # fmt: skip
    """Turns a Keras model into a backbone, as it is now: later training of the model does not change the backbone.

    Args:
        model: a functional or Sequential Keras model of RGB images. Layers after its last map are omitted.
        preprocessing: the input that it expects: "caffe" (BGR, 0 to 255 minus ImageNet's mean), "mean" (the same in
            RGB), "tf" (RGB, -1 to 1), "torch" (RGB, 0 to 1, then ImageNet's mean and deviation), "0..1" (RGB), or
            "none" (RGB, 0 to 255; the model rescales it).
        name: name of the backbone and its banks; by default the model's name.
        image_size: the side of the input in pixels, if the model leaves it open.
        resize: how images become square; see `load_backbone`.
        levels: the range of grey images of more than eight bits; see `load_backbone`.

    Returns:
        The backbone. Its digest covers the layers, their settings and the weights. A custom layer class is identified
        by its name and settings, not by its code: rename it when it computes something else.

    Raises:
        UnknownNameError: the preprocessing or the resize rule is none of these.
        ConfigError: the model is not a functional Keras model of one square RGB input, or has no map.

    Example:
        >>> import keras
        >>> my_model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 3, activation="relu")])
        >>> backbone = backbone_from_model(my_model, preprocessing="0..1", name="my-net")
        >>> fb.extract("photos", backbone).features().shape
        (36, 8)
    """
    # Keras numbers the models of a process, but a name must mean the same in the next process.
    called = name or re.sub(r"^(functional|sequential|model)_\d+$", r"\1", str(getattr(model, "name", "the model")))
    with showing():
        return make_backbone(
            model, preprocessing, origin=called, known_as="", image_size=as_side(image_size), resize=resize,
            levels=levels,
        )  # fmt: skip
