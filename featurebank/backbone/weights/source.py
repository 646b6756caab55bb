"""The source of a backbone's weights: the network's own, a seed, or a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from featurebank.backbone.spec import IMAGENET, BackboneSpec
from featurebank.backbone.weights import random
from featurebank.backbone.weights.files import file_digest
from featurebank.errors import ConfigError, WeightsError
from featurebank.system import digest


@dataclass(frozen=True)
class Source:
    """The source of a backbone's weights: a seed, a file, or neither (the network's own)."""

    seed: int | None = None
    file: Path | None = None


def parse_source(text: str | None, spec: BackboneSpec) -> Source:
    """Parses the user's specification of weights.

    Args:
        text: the network's own (usually "imagenet"; also None), "random:SEED", or the path of a weights file.
        spec: the network.

    Returns:
        The source; its file exists.

    Raises:
        ConfigError: the text is none of these, the network has no such weights, or the seed is out of range.
        WeightsError: the file does not exist.
    """
    if spec.default_weights is None and text in {None, IMAGENET}:
        message = (
            f"{spec.name} has no trained weights: use --weights random:0, or a file of weights that you have trained"
        )
        raise ConfigError(message)
    if text is None or text == spec.default_weights:
        return Source()
    if isinstance(text, str) and re.match(r"random\b", text):
        seed = text.removeprefix("random:")
        if re.fullmatch(r"[0-9]{1,20}", seed) and int(seed) <= random.MAX_SEED:
            return Source(seed=int(seed))
        message = f"weights '{text}': expected a seed from 0 to 2^64-1 after 'random:', as 'random:0'"
        raise ConfigError(message)
    if not isinstance(text, str | os.PathLike) or Path(text).suffix.lower() not in spec.suffixes:
        message = f"weights '{text}': expected {_expected(spec)}"
        raise ConfigError(message)
    path = Path(text).expanduser()
    if not path.is_file():
        message = f"there is no weights file '{path}': check the path, or use --weights random:0"
        raise WeightsError(message)
    return Source(file=path)


def digest_of(source: Source, spec: BackboneSpec) -> str:
    """Returns the digest of a source's weights; each version of a file is read at most once.

    Raises:
        WeightsError: the file is missing and cannot be downloaded, or it is incomplete.
    """
    if source.seed is not None:
        recipe = {"scheme": spec.random_scheme, "network": spec.name, "seed": str(source.seed)}
        return digest.of_recipe(recipe)
    return file_digest(source.file) if source.file else spec.own_digest()


def _expected(spec: BackboneSpec) -> str:
    known = [f"'{spec.default_weights}'"] if spec.default_weights else []
    files = [f"for {spec.name} a file that ends in {', '.join(spec.suffixes)}"] if spec.suffixes else []
    expected = [*known, "'random:SEED'", *files]
    return " or ".join([", ".join(expected[:-1]), expected[-1]] if expected[1:] else expected)
