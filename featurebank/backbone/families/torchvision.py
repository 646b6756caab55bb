"""Networks of torchvision that classify images, as torchvision:NAME or torchvision:NAME.WEIGHTS.

`pooled` is the input of the last layer of the classifier, in torchvision's own forward pass; the last features are the
map that it pools, or the tokens of a vision transformer.

References:
    TorchVision maintainers and contributors, "TorchVision: PyTorch's Computer Vision library", 2016,
    github.com/pytorch/vision.
"""

from __future__ import annotations

import fnmatch
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from featurebank.backbone.libraries import LibraryEntry
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import normalizing
from featurebank.backbone.resize import central
from featurebank.backbone.torch_networks.files import fill_with_tensors, read_torch_tensors
from featurebank.backbone.torch_networks.network import torch_backbone
from featurebank.backbone.torch_networks.spec import TorchFeatures, TorchSpec
from featurebank.backbone.weights.download import find_published, is_published
from featurebank.errors import ConfigError, unknown_name
from featurebank.system.imports.torch import import_torch

_SITE = "https://download.pytorch.org/models/"
_OUTPUTS = {"DenseNet": "features", "MobileNetV2": "features", "SqueezeNet": "features", "ShuffleNetV2": "conv5",
            "MNASNet": "layers", "VisionTransformer": "encoder"}  # fmt: skip
"""The modules whose output is the last features, by the class of the network."""
_INPUTS = {"MaxVit": "classifier"}
"""The modules whose input is; of all other networks, it is `avgpool`."""
_CLASSIFIERS = ("fc", "classifier", "head", "heads")
_INCEPTIONS = ("googlenet", "inception_v3")
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Beginnings of the names of tensors that only training needs."""
_SIZES = {"vit": "image_size", "maxvit": "input_size"}
"""The argument for the size of images, of the networks that are built for one."""


class _Seen(threading.local):
    """The last features of the forward pass that this thread is in."""

    features: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Seen:
        """Returns an empty one: converters copy modules."""
        return _Seen()


@dataclass(frozen=True)
class TorchvisionSpec(TorchSpec):
    """A network of torchvision.

    Args:
        architecture: its name in torchvision.
        tag: the name of its pretrained weights.
        rule: how its images become square.
        file: the file of the weights.
    """

    architecture: str
    tag: str
    rule: str
    file: str

    @property
    def known_as(self) -> str:
        """The name that finds it again; `name` is the same as a part of a path."""
        return self.name.replace("torchvision.", "torchvision:", 1)

    @property
    def identity(self) -> str:
        """The architecture, whatever the weights."""
        return f"torchvision:{self.architecture}:v1"

    @property
    def default_weights(self) -> str:
        """The name of the pretrained weights."""
        return self.tag

    @property
    def resize_rule(self) -> str:
        """The rule of the transforms that belong to the weights."""
        return self.rule

    @property
    def licence(self) -> str:
        """The licence of torchvision, to which its weights belong."""
        return "bsd-3-clause"

    def weights_file(self, *, top: bool = False) -> str:
        """Returns the name of the file on PyTorch's site."""
        return self.file

    @property
    def must_download(self) -> bool:
        """Whether the file is in none of the folders of weights."""
        return not is_published(self.file)

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the pretrained weights; see `BackboneSpec.own_file`."""
        return find_published(self.file, _SITE, self.known_as)

    def build(self, image_size: int) -> Any:
        """Builds the network without the last layer of its classifier; see `TorchSpec.build`."""
        builder = _torchvision().get_model_builder(self.architecture)
        options: dict[str, Any] = {"weights": None}
        if self.architecture in _INCEPTIONS:  # as with the pretrained weights
            options |= {"aux_logits": False, "transform_input": True, "init_weights": False}
        if word := _SIZES.get(self.architecture.partition("_")[0]):
            options[word] = (image_size, image_size) if word == "input_size" else image_size
        module = builder(**options)
        _remove_last_layer(module)
        seen, kind = _Seen(), type(module).__name__
        if name := _OUTPUTS.get(kind):
            is_relu_next = kind == "DenseNet"  # in place, and without a module of its own
            hook = _saw_and_rectified if is_relu_next else _saw
            module.get_submodule(name).register_forward_hook(partial(hook, seen))
        else:
            end = module.get_submodule(_INPUTS.get(kind, "avgpool"))
            end.register_forward_pre_hook(partial(_saw_input, seen))
        module.seen = seen
        return module

    def forward(self, module: Any, images: Any) -> TorchFeatures:
        """Computes what the classifier gets, and the last features on the way to it."""
        pooled = module(images)
        final, module.seen.features = module.seen.features, None
        return TorchFeatures(final, pooled)

    def layout(self, module: Any, image_size: int) -> TokenLayout:
        """Returns the layout of the tokens of a vision transformer."""
        side = image_size // module.patch_size
        return TokenLayout.of_grid((side, side), 1, has_class_token=True)

    def load(self, path: Path | None, image_size: int) -> Any:
        """Builds the network with weights; the positions of a vision transformer are interpolated by torchvision."""
        path = path or self.own_file(top=False)
        module, tensors = self.build(image_size), read_torch_tensors(path)
        if type(module).__name__ == "VisionTransformer" and "encoder.pos_embedding" in tensors:
            from torchvision.models.vision_transformer import interpolate_embeddings

            tensors = interpolate_embeddings(image_size, module.patch_size, OrderedDict(tensors))
        fill_with_tensors(module, _renamed(tensors), path, self.known_as, self.is_classifier)
        return module

    def is_classifier(self, tensor: str) -> bool:
        """Returns whether a tensor is of a classifier; those that the module still has are not asked about."""
        return tensor.startswith((*(f"{name}." for name in _CLASSIFIERS), *_AUXILIARY))


def load(name: str, options: BackboneOptions) -> Backbone:
    """Returns a network of torchvision as a backbone.

    Args:
        name: NAME, or NAME.WEIGHTS, as torchvision has it.
        options: see `featurebank.load_backbone`; `weights` may also be the name of pretrained weights.

    Raises:
        UnknownNameError: torchvision has no such network, or no such weights for it.
        ConfigError: the network does not classify images, or an option does not fit it.
        WeightsError: the weights file does not exist.
    """
    models = _torchvision()
    architecture, _, tag = name.partition(".")
    _check_name(architecture)
    known = models.get_model_weights(architecture)
    tags = [weights.name for weights in known]
    if not tag and options.weights in tags:
        tag = str(options.weights)
    tag = tag or known.DEFAULT.name
    if tag not in tags:
        raise unknown_name("weights", tag, tags, f"torchvision:{architecture} has {', '.join(tags)}")
    origin = f"torchvision:{architecture}.{tag}"
    options.refuse_preprocessing(origin)
    weights = known[tag]
    does = weights.transforms()
    own, resized = does.crop_size[0], does.resize_size[0]
    smallest = max(weights.meta.get("min_size", (1, 1)))
    if smallest >= own:  # for transformers, torchvision names the size of their training
        smallest = 1
    size = options.checked_size(own, smallest, origin)
    spec = TorchvisionSpec(
        origin.replace(":", ".", 1), own, smallest, 0, 0, normalizing(does.mean, does.std),
        architecture=architecture, tag=tag,
        rule=central("shorter", max(size, resized * size // own), does.interpolation.value),
        file=weights.url.rpartition("/")[2],
    )  # fmt: skip
    return torch_backbone(spec, replace(options, weights=None) if options.weights == tag else options, size)


def search(pattern: str) -> list[LibraryEntry]:
    """Returns the networks of torchvision whose names match a pattern; see `Library.search`."""
    models = _torchvision()
    entries = []
    for name in models.list_models(module=models):
        if fnmatch.fnmatchcase(name, pattern):
            known = models.get_model_weights(name)
            tags = sorted((weights.name for weights in known), key=lambda tag: tag != known.DEFAULT.name)
            entries.append(
                LibraryEntry(f"torchvision:{name}", tuple(tags), f"{known.DEFAULT.transforms().crop_size[0]} px")
            )
    return entries


def _torchvision() -> Any:
    """Returns `torchvision.models`, imported after PyTorch, whose threads are set first."""
    import_torch()
    import torchvision.models

    return torchvision.models


def _check_name(architecture: str) -> None:
    models = _torchvision()
    known = models.list_models(module=models)
    if architecture in known:
        return
    if architecture in models.list_models():
        message = (
            f"torchvision:{architecture} detects, segments, is quantized or takes videos, and a backbone classifies "
            "images: 'featurebank backbones --source torchvision' lists those"
        )
        raise ConfigError(message)
    raise unknown_name(
        "network of torchvision", architecture, known, "'featurebank backbones --source torchvision' lists them"
    )


def _remove_last_layer(module: Any) -> None:
    """Replaces the last layer with weights of the classifier by one that does nothing."""
    nn = import_torch().nn
    classifier = next(name for name in _CLASSIFIERS if hasattr(module, name))
    layers = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    last = [name for name in layers if name == classifier or name.startswith(f"{classifier}.")][-1]
    parent, _, child = last.rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())


def _saw(seen: _Seen, _module: Any, _inputs: Any, output: Any) -> None:
    seen.features = output


def _saw_and_rectified(seen: _Seen, _module: Any, _inputs: Any, output: Any) -> Any:
    seen.features = output.relu()
    return seen.features


def _saw_input(seen: _Seen, _module: Any, inputs: Any) -> None:
    seen.features = inputs[0]


def _renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    """Returns tensors under today's names; files of DenseNet have those of 2017, as "norm.1" in place of "norm1"."""
    renamed = {}
    for name, tensor in tensors.items():
        for part in ("norm", "relu", "conv"):
            for number in "12":
                if ".denselayer" in name:
                    name = name.replace(f".{part}.{number}.", f".{part}{number}.")  # noqa: PLW2901 - step by step
        renamed[name] = tensor
    return renamed
