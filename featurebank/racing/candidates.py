"""The networks of a race: a name, and after each "@" other weights or another image size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from featurebank.backbone import Backbone, BackboneOptions, is_user_network, load_network
from featurebank.errors import ConfigError, FeatureBankError

_SIZE = re.compile(r"(\d+)px")
FEWEST = 2


@dataclass(frozen=True)
class Candidate:
    """A network that takes part in a race."""

    name: str
    """As the user wrote it, such as "resnet50@random:0@160px"."""
    backbone: Backbone


def parse_candidate(text: str, options: BackboneOptions) -> tuple[str, BackboneOptions]:
    """Parses NAME[@WEIGHTS][@SIZEpx].

    Args:
        text: the name of a network as `load_network` takes it, with its own weights or image size.
        options: what all candidates have in common.

    Returns:
        The name of the network, and its options.

    Raises:
        ConfigError: weights or size occur twice, or a part is empty.

    Example:
        >>> name, options = parse_candidate("resnet50@random:0@160px", BackboneOptions(resize="pad"))
        >>> name, options.weights, options.image_size, options.resize
        ('resnet50', 'random:0', 160, 'pad')
    """
    if Path(text).exists():  # a model file whose path has an "@"
        return text, options
    name, *parts = text.split("@")
    sizes = [int(match.group(1)) for match in map(_SIZE.fullmatch, parts) if match]
    weights = [part for part in parts if not _SIZE.fullmatch(part)]
    if len(sizes) > 1 or len(weights) > 1 or not all((name, *parts)):
        message = f"backbone '{text}': expected NAME, NAME@WEIGHTS, NAME@SIZEpx or NAME@WEIGHTS@SIZEpx"
        raise ConfigError(message)
    if sizes:
        options = replace(options, image_size=sizes[0])
    return name, replace(options, weights=weights[0]) if weights else options


def load_candidates(
    names: Sequence[str | Backbone], options: BackboneOptions
) -> tuple[list[Candidate], list[FeatureBankError]]:
    """Loads the networks of a race, without building them.

    Args:
        names: texts for `parse_candidate`, or networks.
        options: what all candidates that are texts have in common.

    Returns:
        The candidates, and what is wrong with the others or with all of them together.
    """
    candidates: list[Candidate] = []
    errors: list[FeatureBankError] = []
    known: dict[str, str] = {}
    for name in names:
        try:
            candidate = _load(name, options)
            digest = candidate.backbone.digest
        except FeatureBankError as error:
            errors.append(error)
            continue
        if digest in known:
            message = f"backbone '{candidate.name}' is the same network as '{known[digest]}': leave one of them out"
            errors.append(ConfigError(message))
            continue
        known[digest] = candidate.name
        candidates.append(candidate)
    if len(names) < FEWEST:
        what = f"only '{candidates[0].name}'" if candidates else f"{len(names)} backbones"
        errors.append(ConfigError(f"{what} would race: expected at least two; 'featurebank extract' runs one"))
    return candidates, errors


def _load(name: str | Backbone, options: BackboneOptions) -> Candidate:
    if isinstance(name, Backbone):
        size = "" if name.image_size == name.spec.image_size else f"@{name.image_size}px"
        weights = "" if name.weights == name.spec.default_weights else f"@{name.weights}"
        return Candidate(f"{name.name}{weights}{size}", name)
    own, values = parse_candidate(name, options)
    if values.preprocessing is not None and not is_user_network(own):
        values = replace(values, preprocessing=None)  # it is for networks that declare none
    return Candidate(name, load_network(own, values))
