"""A user's `torch.nn.Module` as a backbone."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from featurebank.backbone.families.user_modules.checks import checked_copy, weights_digest
from featurebank.backbone.families.user_modules.features import (
    FeaturePlaces,
    features_of,
    find_places,
    find_timm_places,
)
from featurebank.backbone.families.user_modules.identity import architecture_of
from featurebank.backbone.naming import as_part_of_path
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.spec import IMAGENET, OWN
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.backbone.torch_networks.spec import TorchFeatures, TorchSpec
from featurebank.backbone.weights.source import parse_source
from featurebank.errors import ConfigError, unknown_name
from featurebank.system.imports.torch import import_torch


@dataclass(frozen=True)
class UserModule(TorchSpec):
    """A module of the user.

    Args:
        origin: its name in messages, and the one that finds it again, as "nets:build".
        architecture: the digest of what it computes, without weights.
        weights: the digest of its weights.
        module: a copy of it in evaluation mode; never changed.
        places: where its features are; None until that is known.
    """

    origin: str
    architecture: str
    weights: str
    module: Any = field(repr=False, compare=False)
    places: FeaturePlaces | None = None

    default_weights: ClassVar[str | None] = OWN

    @property
    def known_as(self) -> str:
        """The name that finds it again."""
        return self.origin

    @property
    def identity(self) -> str:
        """The digest of the architecture, so that an edited module is a different one."""
        return f"user:{self.architecture}"

    @property
    def pooling(self) -> str:
        """How the module pools."""
        return self.places.pooling if self.places else ""

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return "in the module"

    @property
    def note(self) -> str:
        """Where the features are."""
        if self.places is None or self.places.is_timm:
            return ""
        word = "tokens" if self.places.layout else "map"
        last = f"the output of '{self.places.last}'" if self.places.last else "its output"
        pooled = (
            f"the input of '{self.places.head}'" if self.places.head else (self.pooling or "the average of the map")
        )
        return f"{word} of {self.name}: {last}; pooled: {pooled}"

    def build(self, image_size: int) -> Any:
        """Returns a copy of the module, on the current device; statistics of batches are those of a new network."""
        fresh = copy.deepcopy(self.module).to(import_torch().empty(0).device)
        for part in fresh.modules():
            if callable(reset := getattr(part, "reset_running_stats", None)):
                reset()
        return fresh

    def load(self, path: Path | None, image_size: int) -> Any:
        """Returns a copy of the module with its own weights, or with those of a file."""
        return copy.deepcopy(self.module) if path is None else super().load(path, image_size)

    def forward(self, module: Any, images: Any) -> TorchFeatures:
        """Computes the last features; see `TorchSpec.forward`."""
        if self.places is None:
            return TorchFeatures(None, module(images))
        return features_of(module, images, self.places)

    def layout(self, module: Any, image_size: int) -> TokenLayout | None:
        """Returns the layout of the tokens."""
        return self.places.layout if self.places else None

    def weights_file(self, *, top: bool = False) -> None:
        """Returns None: the weights are in the module."""

    def own_file(self, *, top: bool) -> NoReturn:
        """Raises ConfigError: the weights are in the module."""
        message = f"the weights of {self.origin} are in the module: there is no file of them"
        raise ConfigError(message)

    def own_digest(self) -> str:
        """Returns the digest of the weights that the module had when it became a backbone."""
        return self.weights


def is_module(value: Any) -> bool:
    """Returns whether a value is a module of PyTorch; never imports PyTorch."""
    return any(f"{kind.__module__}.{kind.__name__}" == "torch.nn.modules.module.Module" for kind in type(value).__mro__)


def make_module_backbone(
    module: Any, preprocessing: str, origin: str, size: int | None, options: BackboneOptions
) -> TorchBackbone:
    """Turns a user's module into a backbone.

    Args:
        module: a `torch.nn.Module`; it is copied.
        preprocessing: one of `preprocess.DECLARED`.
        origin: its name, MODULE:FUNCTION.
        size: the side of its square input in pixels, as the function declares it.
        options: see `featurebank.load_backbone`.

    Raises:
        ConfigError: it cannot be a backbone, or an option does not fit.
    """
    if preprocessing not in DECLARED:
        raise unknown_name("preprocessing", str(preprocessing), DECLARED)
    side = options.image_size or size
    if type(side) is not int or side < 1:
        message = f"{origin} takes images of any size: choose one, as --image-size 224, or build.image_size = 224"
        raise ConfigError(message)
    frozen = checked_copy(module, origin, side)
    name = as_part_of_path(origin.replace(":", "."))
    count = sum(parameter.numel() for parameter in frozen.parameters())
    spec = UserModule(
        name, side, 1, 0, count, DECLARED[preprocessing], origin, architecture_of(frozen, origin),
        weights_digest(frozen), frozen,
    )  # fmt: skip
    spec = _with_places(spec, side)
    weights = None if options.weights == IMAGENET else options.weights
    return TorchBackbone.of_options(spec, options, side, weights=weights)


def _with_places(spec: UserModule, side: int) -> UserModule:
    if hasattr(spec.module, "forward_features") and hasattr(spec.module, "forward_head"):
        return replace(spec, places=find_timm_places(spec.module, side))
    plain = TorchBackbone(spec, OWN, parse_source(None, spec), side)
    try:
        recording = plain.recording()
    except ConfigError as error:
        message = (
            f"{spec.origin} cannot be followed without numbers: its forward depends on the values of tensors, or moves "
            f"them to a device ({error.__cause__ or error}): expected the same operations for each image"
        )
        raise ConfigError(message) from error
    return replace(spec, places=find_places(spec.module, recording, spec.origin, side))
