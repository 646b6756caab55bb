"""Networks of timm (PyTorch Image Models), as timm:NAME or timm:NAME.TAG, where the tag is that of pretrained weights.

References:
    R. Wightman, "PyTorch Image Models", 2019, github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featurebank.backbone.families.hugging_face.repository import Repository
from featurebank.backbone.families.timm_names import (
    FORMS,
    import_timm,
    pretrained_config,
    quiet_timm,
    refusal,
    resolved_name,
    search,
)
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import normalizing
from featurebank.backbone.resize import central
from featurebank.backbone.torch_networks.files import of_another_network, read_torch_tensors
from featurebank.backbone.torch_networks.network import torch_backbone
from featurebank.backbone.torch_networks.spec import TorchFeatures, TorchSpec
from featurebank.backbone.weights.files import first_line
from featurebank.errors import ConfigError, WeightsError

__all__ = ["TimmSpec", "load", "search"]

_FILE = "model.safetensors"
_DIFFERENCES = (
    (r'Missing key\(s\) in state_dict: "([^"]+)"', "it has no tensor '{}'"),
    (
        r"size mismatch for (\S+): copying a param with shape torch.Size\(\[(.*?)\]\) from .*? torch.Size\(\[(.*?)\]\)",
        "its tensor '{}' has shape ({}), expected ({})",
    ),
    (r'Unexpected key\(s\) in state_dict: "([^"]+)"', "its tensor '{}' is none of this network"),
)  # fmt: skip
"""What PyTorch says of weights that do not fit, and our words for it."""


@dataclass(frozen=True)
class TimmSpec(TorchSpec):
    """A network of timm.

    Args:
        architecture: its name in timm.
        tag: the tag of its pretrained weights; empty if there are none.
        rule: how its images become square.
        repository: where the weights are on the Hugging Face hub; empty if they are not there.
        classifier: the modules of its classifier, which the backbone does not have.
        is_sized: whether it is built for one image size.
        terms: the licence of the weights.
    """

    architecture: str
    tag: str
    rule: str
    repository: str
    classifier: tuple[str, ...]
    is_sized: bool
    terms: str

    @property
    def known_as(self) -> str:
        """The name that finds it again; `name` is the same as a part of a path."""
        return self.name.replace("timm.", "timm:", 1)

    @property
    def identity(self) -> str:
        """The architecture, whatever the weights."""
        return f"timm:{self.architecture}:v1"

    @property
    def default_weights(self) -> str | None:
        """The tag; None if there are no pretrained weights."""
        return self.tag or None

    @property
    def resize_rule(self) -> str:
        """The rule of timm's own transform for evaluation."""
        return self.rule

    @property
    def licence(self) -> str:
        """The licence of the pretrained weights."""
        return self.terms

    def weights_file(self, *, top: bool = False) -> str | None:
        """Returns the name of the weights on the hub."""
        return f"{self.repository}/{_FILE}" if self.repository else None

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the pretrained weights; see `BackboneSpec.own_file`."""
        path = (self._hub.here(_FILE) or self._hub.path(_FILE)) if self.repository else None
        if path is None:
            message = (
                f"{self.known_as}: its weights are not published as safetensors, and others can run code: expected "
                "--weights FILE.safetensors, or random:0; timm.create_model(..., pretrained=True) loads them, and "
                "safetensors.torch.save_file(model.state_dict(), 'FILE.safetensors') saves them"
            )
            raise WeightsError(message)
        return path

    @property
    def must_download(self) -> bool:
        """Whether the weights are not in the cache of the hub."""
        return bool(self.repository) and self._hub.here(_FILE) is None

    @property
    def _hub(self) -> Repository:
        return Repository(
            self.known_as,
            self.known_as,
            self.name,
            None,
            self.repository,
            "main",
            instead="use --weights FILE.safetensors",
        )

    def build(self, image_size: int) -> Any:
        """Builds the network without its classifier; see `TorchSpec.build`."""
        return self._create(image_size)

    def forward(self, module: Any, images: Any) -> TorchFeatures:
        """Computes timm's `forward_features` and `forward_head(pre_logits=True)`."""
        final = module.forward_features(images)
        return TorchFeatures(final, module.forward_head(final, pre_logits=True))

    def layout(self, module: Any, image_size: int) -> TokenLayout | None:
        """Returns the layout of tokens, as timm's attributes of the module tell it."""
        has_class = getattr(module, "cls_token", None) is not None
        prefix = getattr(module, "num_prefix_tokens", int(has_class))
        embedding = getattr(module, "patch_embed", None)
        side = math.ceil(image_size / module.feature_info[-1]["reduction"])
        grid = getattr(embedding, "grid_size", None) or (side, side)
        return TokenLayout.of_grid(tuple(grid), prefix, has_class_token=has_class)

    def is_channels_last(self, module: Any) -> bool:
        """Returns whether the maps of this kind of network are (n, h, w, c)."""
        return getattr(module, "output_fmt", "") == "NHWC"

    def load(self, path: Path | None, image_size: int) -> Any:
        """Builds the network with weights; timm converts files of its older layouts and interpolates positions."""
        path = path or self.own_file(top=False)
        tensors = {name: value for name, value in read_torch_tensors(path).items() if not self.is_classifier(name)}
        if not tensors:
            raise of_another_network(path, self.known_as, "it has no tensors")
        own = {"state_dict": tensors, "num_classes": 0, "label_offset": 0}
        try:
            return self._create(image_size, pretrained=True, pretrained_cfg_overlay=own)
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
            raise of_another_network(path, self.known_as, _difference(error)) from error

    def is_classifier(self, tensor: str) -> bool:
        """Returns whether a tensor is of the classifier."""
        # The classifier of LeViT, `head.linear`, has a normalisation of its own beside it, `head.bn`.
        return tensor.startswith(tuple(f"{name.removesuffix('.linear')}." for name in self.classifier))

    def _create(self, image_size: int, **options: Any) -> Any:
        name = f"{self.architecture}.{self.tag}" if self.tag else self.architecture
        sized = {"img_size": image_size} if self.is_sized else {}
        with quiet_timm():
            return import_timm().create_model(name, num_classes=0, **sized, **options)


def load(name: str, options: BackboneOptions) -> Backbone:
    """Returns a network of timm as a backbone.

    Args:
        name: NAME or NAME.TAG, as timm has it.
        options: see `featurebank.load_backbone`; `weights` may also be a tag.

    Raises:
        UnknownNameError: timm has no such network, or no such weights for it; the message names the nearest.
        ConfigError: the network cannot be a backbone, or an option does not fit it.
        WeightsError: the weights file does not exist.
    """
    with quiet_timm():
        architecture, tag = resolved_name(name, options.weights)
        config = pretrained_config(architecture, tag)
    origin = f"timm:{architecture}.{tag}" if tag else f"timm:{architecture}"
    if reason := refusal(architecture, config):
        message = f"{origin} {reason}: it cannot be a backbone; 'featurebank backbones --source timm' lists others"
        raise ConfigError(message)
    options.refuse_preprocessing(origin)
    own = config.input_size[-1]
    smallest = config.min_input_size[-1] if config.min_input_size else 1
    size = options.checked_size(own, smallest, origin)
    spec = TimmSpec(
        origin.replace(":", ".", 1), own, smallest, 0, 0, normalizing(config.mean, config.std),
        architecture=architecture, tag=tag,
        rule=central(FORMS[config.crop_mode], math.floor(size / config.crop_pct), config.interpolation),
        repository=config.hf_hub_id or "", classifier=_names(config.classifier), is_sized=config.fixed_input_size,
        terms=config.license or "",
    )  # fmt: skip
    if options.weights == tag:
        options = replace(options, weights=None)
    return torch_backbone(spec, options, size)


def _names(classifier: Any) -> tuple[str, ...]:
    return (classifier,) if isinstance(classifier, str) else tuple(classifier or ())


def _difference(error: Exception) -> str:
    """Returns the first difference that PyTorch names; else the error in one line."""
    text = str(error)
    for pattern, words in _DIFFERENCES:
        if match := re.search(pattern, text):
            return words.format(*match.groups())
    return first_line(error)
