"""Vision networks of transformers, from the Hugging Face hub or from a directory of the same form: `hf:NAME`."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from featurebank.backbone.families.hugging_face.config import identity_of, network_values, side_of
from featurebank.backbone.families.hugging_face.hub import cached_repositories
from featurebank.backbone.families.hugging_face.kinds import CLASS, CLASS_AND_MEAN, MEAN, Kind, kind_of, patch_side
from featurebank.backbone.families.hugging_face.library import (
    build_network,
    interpolates_positions,
    known_keys,
    load_network,
)
from featurebank.backbone.families.hugging_face.processors import Processor, refuse_preprocessing, scaled_rule
from featurebank.backbone.families.hugging_face.repository import Repository, open_repository
from featurebank.backbone.families.hugging_face.tensors import check_files, count_numbers
from featurebank.backbone.libraries import LibraryEntry
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.resize import rule_of
from featurebank.backbone.spec import IMAGENET
from featurebank.backbone.torch_networks.files import read_torch_tensors
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.backbone.torch_networks.spec import TorchFeatures, TorchSpec
from featurebank.backbone.weights.files import file_digest
from featurebank.errors import ConfigError, unknown_name
from featurebank.system import digest
from featurebank.system.imports.torch import import_torch
from featurebank.system.runtime import usable_memory
from featurebank.words import counted, one_line

PRETRAINED = "pretrained"
"""The users' word for the weights in the repository; `imagenet`, the word for other networks, means the same."""
_BYTES = 4
_MAP_AXES = 4
_CHANNELS = 3
_HALVINGS = 32


@dataclass(frozen=True)
class TransformersNetwork(TorchSpec):
    """A vision network of transformers.

    Args:
        kind: which of its classes it is, and how `pooled` follows.
        values: what config.json says of its shape.
        repository: where its files are.
        own_resize: how its image processor makes images square: an identifier of `backbone.resize`.
        flips: whether it takes blue, green, red.
    """

    kind: Kind
    values: Mapping[str, Any] = field(repr=False)
    repository: Repository
    own_resize: str
    flips: bool
    _rows: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    default_weights: ClassVar[str | None] = PRETRAINED

    @property
    def known_as(self) -> str:
        """The name that finds the same files again."""
        return self.repository.known_as

    @property
    def identity(self) -> str:
        """The digest of the architecture."""
        order = ":bgr" if self.flips else ""
        return f"hf:{self.kind.network}:{identity_of(self.kind, self.values)}{order}"

    @property
    def resize_rule(self) -> str:
        """How its image processor makes images square."""
        return self.own_resize

    @property
    def pooling(self) -> str:
        """How the network pools its tokens; empty for a network of maps."""
        return self.kind.pooling_of(self.values)

    @property
    def must_download(self) -> bool:
        """Whether the weights are not yet in the cache of the hub."""
        return not self.repository.has_weights_here()

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return "in the directory" if self.repository.directory else "downloaded from the Hugging Face hub at first use"

    @property
    def layers_hint(self) -> str:
        """How to list the names of its layers, for messages."""
        return f"'featurebank backbones {self.repository.origin} --layers' lists them"

    @property
    def note(self) -> str:
        """Which part of the repository is used."""
        parts = [super().note]
        if self.kind.section:
            parts.append(
                f"{self.name} is the vision tower of {self.repository.origin}: the text tower is not read, and pooled "
                "is the pooler's output, before the projection to the space of texts"
            )
        return "; ".join(part for part in parts if part)

    def build(self, image_size: int) -> Any:
        """Builds the network for images of the size in config.json; see `TorchSpec.build`."""
        return build_network(self.kind, self.values, self.repository.origin)

    def forward(self, module: Any, images: Any) -> TorchFeatures:
        """Computes the last features as transformers does; see `TorchSpec.forward`."""
        is_other_size = side_of(self.values) not in {None, images.shape[-1]}
        more = {"interpolate_pos_encoding": True} if is_other_size and interpolates_positions(module) else {}
        output = module(images.flip(1) if self.flips else images, **more)
        final = output.last_hidden_state
        if final.ndim != _MAP_AXES:
            self._rows.setdefault(int(images.shape[-1]), int(final.shape[1]))
        pooled = self._pooled(output, final)
        return TorchFeatures(module.get_submodule(self.kind.norm)(final) if self.kind.norm else final, pooled)

    def layout(self, module: Any, image_size: int) -> TokenLayout | None:
        """Returns the layout of the tokens; see `TorchSpec.layout`."""
        if image_size not in self._rows:
            torch = import_torch()
            with torch.no_grad():
                parameter = next(module.parameters())
                final = self.forward(module, torch.zeros(1, 3, image_size, image_size, device=parameter.device)).final
            if final.ndim == _MAP_AXES:
                return None
        prefix = self._prefix()
        patches = self._rows[image_size] - prefix
        side = math.isqrt(patches)
        grid = (side, side) if side * side == patches else None
        return TokenLayout(prefix, has_class_token=bool(self.kind.prefix), grid=grid, patches=patches)

    def load(self, path: Path | None, image_size: int) -> Any:
        """Builds the network with the weights of a file, or its own; see `TorchSpec.load`."""
        files = self.own_files() if path is None else [path]
        tensors = {name: tensor for file in files for name, tensor in read_torch_tensors(file).items()}
        return load_network(self.kind, self.values, tensors, self.repository.origin)

    def weights_file(self, *, top: bool = False) -> str | None:
        """Returns the name of the file with the weights."""
        return "model.safetensors"

    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the first file of weights; see `own_files`."""
        return self.own_files()[0]

    def own_files(self) -> list[Path]:
        """Returns the paths of the weights files; downloads them if they are missing."""
        paths = self.repository.weights()
        check_files(paths, self.parameters, self.repository.origin)
        return paths

    def own_digest(self) -> str:
        """Returns the digest of the weights files."""
        digests = [file_digest(path) for path in self.own_files()]
        return digests[0] if len(digests) == 1 else digest.of_recipe({"files": digests})

    def _prefix(self) -> int:
        return self.kind.prefix + int(self.values.get(self.kind.registers, 0) if self.kind.registers else 0)

    def _pooled(self, output: Any, final: Any) -> Any:
        """Returns the vector that the network's own classifier takes, (n, d)."""
        torch = import_torch()
        if final.ndim == _MAP_AXES:
            return final.mean((2, 3)) if self.kind.pooled == MEAN else output.pooler_output.flatten(1)
        if self.kind.pooled == CLASS:
            return final[:, 0]
        if self.kind.pooled == MEAN:
            return final[:, self._prefix() :].mean(1)
        if self.kind.pooled == CLASS_AND_MEAN:
            return torch.cat([final[:, 0], final[:, self._prefix() :].mean(1)], 1)
        if output.pooler_output is None:  # SigLIP without its pooling head
            return final.mean(1)
        return output.pooler_output


class TransformersBackbone(TorchBackbone):
    """A vision network of transformers as a backbone."""

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")


def load(name: str, options: BackboneOptions) -> TransformersBackbone:
    """Loads a network; see `Library.load`. Its weights are read or downloaded when they are needed."""
    repository = open_repository(name)
    config = repository.config()
    kind = kind_of(config, repository.origin)
    values = network_values(config, kind, known_keys(kind), repository.origin)
    if values.get("num_channels", _CHANNELS) != _CHANNELS:
        message = (
            f"{repository.origin} takes images of {counted(values['num_channels'], 'channel')}: expected RGB images"
        )
        raise ConfigError(message)
    spec = _prepared(repository, kind, values, options)
    weights = None if options.weights in {IMAGENET, PRETRAINED} else options.weights
    size = options.image_size or spec.image_size
    rule = scaled_rule(spec.own_resize, spec.image_size, size)
    return TransformersBackbone.of_options(_counted(spec), options, size, weights=weights, own_rule=rule)


def search(pattern: str) -> list[LibraryEntry]:
    """Returns the models in the local cache of the hub whose names match; the hub itself is not asked.

    Raises:
        ConfigError: none does.
    """
    cached = [
        LibraryEntry(f"hf:{name}", (PRETRAINED,), f"{size} in the local cache; all others: huggingface.co/models")
        for name, size in cached_repositories()
        if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name.partition("/")[2], pattern)
    ]
    if not cached:
        message = (
            f"no model in the local cache of the Hugging Face hub matches '{one_line(pattern, 80)}', and the hub "
            "itself is not searched: find a name on huggingface.co/models and use it as hf:NAME"
        )
        raise ConfigError(message)
    return cached


def _prepared(
    repository: Repository, kind: Kind, values: Mapping[str, Any], options: BackboneOptions
) -> TransformersNetwork:
    """Returns the specification with the preprocessing of the image processor, or of the user."""
    content, origin = repository.processor(), repository.origin
    declared = options.preprocessing
    if declared is not None and declared not in DECLARED:
        raise unknown_name("preprocessing", declared, DECLARED)
    processor = None
    if content is not None or declared is None:
        processor = _processor(content, kind, origin, declared)
    own = side_of(values)
    is_placed = processor is not None and (options.resize is None or (own is None and options.image_size is None))
    size = (processor.side() if processor and is_placed else own) or options.image_size
    if size is None:
        refuse_preprocessing(origin, "it does not tell the size of its images")
    resize = processor.resize_rule() if processor and options.resize is None else rule_of(options.resize)
    rule = DECLARED[declared] if declared is not None else ""
    if processor is not None and declared is None:
        rule = processor.normalization()
    flips = bool(processor and declared is None and processor.flips)
    least, patch = _least(kind, values, size), patch_side(kind, values)
    return TransformersNetwork(
        repository.name, size, least, 0, 0, rule, kind, values, repository, resize, flips, patch=patch
    )


def _least(kind: Kind, values: Mapping[str, Any], size: int) -> int:
    """Returns the smallest image size: a patch, or what the last of five halvings needs."""
    if kind.is_fixed:
        return size
    return patch_side(kind, values) or _HALVINGS


def _processor(content: Mapping[str, Any] | None, kind: Kind, origin: str, declared: str | None) -> Processor | None:
    if content is None:
        refuse_preprocessing(origin, "it has no preprocessor_config.json")
    try:
        return Processor(content, kind.processor, origin)
    except ConfigError:
        if declared is None:
            raise
    return None


def _counted(spec: TransformersNetwork) -> TransformersNetwork:
    """Returns the specification with the number of weights, which a network without memory tells.

    Raises:
        ConfigError: the network cannot be built, or this machine could not hold it.
    """
    with import_torch().device("meta"):
        count = count_numbers(spec.build(spec.image_size))
    if count * _BYTES > usable_memory():
        message = (
            f"{spec.repository.origin}: its config.json describes {count:.3g} weights, which is more than the memory "
            "of this machine holds: check the file"
        )
        raise ConfigError(message)
    return replace(spec, parameters=count)
