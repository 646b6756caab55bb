"""The configuration of a network of transformers, from config.json, within limits.

A configuration may contain anything: numbers that would need all memory, the names of attention kernels that
transformers would download and run, outputs in other forms. So only the keys that define the shape of the network are
passed on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from featurebank.backbone.families.hugging_face.kinds import Kind
from featurebank.backbone.families.hugging_face.processors import LARGEST_SIDE
from featurebank.errors import ConfigError
from featurebank.system import digest
from featurebank.words import counted, one_line

_LARGEST = 1 << 16
"""The largest number: no width, number of heads or size of a vocabulary of a vision network is larger."""
_LONGEST = 256
"""The longest list, as of the blocks of each stage."""
_DEEPEST = 1024
"""The largest number of blocks in all."""
_DEPTHS = ("num_hidden_layers", "depths", "num_block_repeats", "num_encoder_blocks", "num_stages", "focal_levels")
_FACTOR = "depth_coefficient"
"""Of EfficientNet: the number of its blocks is multiplied by it."""
_TRAINING = ("dropout", "drop_path", "initializer", "loss", "auxiliary", "pool_scales", "out_features", "out_indices")
"""Parts of the names of keys that change nothing in a network that is not trained."""


def network_values(config: Mapping[str, Any], kind: Kind, known: frozenset[str], origin: str) -> dict[str, Any]:
    """Returns the values that define a network.

    Args:
        config: the content of config.json.
        kind: the kind of the network.
        known: the keys that its configuration class knows beside those of all networks.
        origin: the network's name in messages.

    Raises:
        ConfigError: a value is out of every proportion.
    """
    section = config.get(kind.section, {}) if kind.section else config
    if not isinstance(section, dict):
        message = f"{origin}: '{kind.section}' in config.json is a {type(section).__name__}: expected an object"
        raise ConfigError(message)
    values = {key: section[key] for key in sorted(section) if key in known and not any(p in key for p in _TRAINING)}
    for key, value in values.items():
        if problem := _problem(key, value):
            message = f"{origin}: '{key}' in config.json is {problem}"
            raise ConfigError(message)
    blocks = sum(_total(values[key]) for key in _DEPTHS if key in values) * max(1, _total(values.get(_FACTOR)))
    if blocks > _DEEPEST:
        message = f"{origin}: config.json describes {counted(blocks, 'block')}: expected at most {_DEEPEST}"
        raise ConfigError(message)
    return values


def identity_of(kind: Kind, values: Mapping[str, Any]) -> str:
    """Returns the digest of an architecture: of what `network_values` returns and how `pooled` is made."""
    about = [kind.network, kind.pooled, kind.norm, values]
    return digest.of_bytes(json.dumps(about, sort_keys=True).encode())


def side_of(values: Mapping[str, Any]) -> int | None:
    """Returns the size of the images that a network was made for, in pixels; None if it is not known."""
    value = values.get("image_size")
    if isinstance(value, list) and len(set(map(str, value))) == 1:
        value = value[0]
    return value if type(value) is int and 1 <= value <= LARGEST_SIDE else None


def _problem(key: str, value: Any) -> str:
    """Says what is wrong with a value; returns "" for a sensible one."""
    for one in _leaves(value):
        if one is None:
            return f"longer than {_LONGEST}, or nested too deeply"
        if isinstance(one, int | float) and not -_LARGEST <= one <= _LARGEST:
            return f"{one_line(repr(one), 40)}: expected a number up to {_LARGEST}"
    if key == "image_size" and any(isinstance(one, int) and one > LARGEST_SIDE for one in _leaves(value)):
        return f"{one_line(repr(value), 40)}: expected at most {LARGEST_SIDE} pixels"
    return ""


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yields the numbers and texts in a value; None for a part that is too large."""
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list):
        yield "" if value is None else value
    elif len(parts) > _LONGEST or depth > 3:  # noqa: PLR2004 - lists of lists of lists
        yield None
    else:
        for part in parts:
            yield from _leaves(part, depth + 1)


def _total(value: Any) -> int:
    return math.ceil(sum(abs(one) for one in _leaves(value) if isinstance(one, int | float)))
