"""The names of timm's networks and of their pretrained weights: which there are, and which can be backbones."""

from __future__ import annotations

import contextlib
import fnmatch
import warnings
from collections.abc import Iterator
from typing import Any

from featurebank.backbone.libraries import LibraryEntry
from featurebank.errors import unknown_name
from featurebank.system.imports.torch import import_torch

FORMS = {"center": "shorter", "squash": "stretch"}
"""Crop modes of timm, and their words for `resize.central`."""
_CHANNELS = 3


def search(pattern: str) -> list[LibraryEntry]:
    """Returns the networks of timm whose names match a pattern; see `Library.search`."""
    timm = import_timm()
    names: dict[str, list[str]] = {}
    for name in timm.list_models(include_tags=True):
        architecture, _, tag = name.partition(".")
        names.setdefault(architecture, []).append(tag)
    pattern, _, tag_pattern = pattern.partition(".")
    entries = []
    for architecture, tags in names.items():
        config = pretrained_config(architecture, "")
        matching = [tag for tag in tags if fnmatch.fnmatchcase(tag, tag_pattern or "*")]
        if not fnmatch.fnmatchcase(architecture, pattern) or not matching or refusal(architecture, config):
            continue
        default = config.tag or ""
        known = [
            tag for tag in sorted(matching, key=lambda tag: tag != default) if tag and _has_weights(architecture, tag)
        ]
        entries.append(LibraryEntry(f"timm:{architecture}", tuple(known), f"{config.input_size[-1]} px"))
    return entries


def import_timm() -> Any:
    """Returns the package, imported after PyTorch, whose threads are set first."""
    import_torch()
    with quiet_timm():
        import timm
    return timm


@contextlib.contextmanager
def quiet_timm() -> Iterator[None]:
    """Silences remarks of timm to its own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def resolved_name(name: str, weights: str | None) -> tuple[str, str]:
    """Returns the name in timm and the tag of the pretrained weights; an empty tag if there are none.

    Raises:
        UnknownNameError: timm has no such network, or no such weights for it.
    """
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    known = set(timm.list_models())
    if architecture not in known:
        renamed = timm.models.get_deprecated_models().get(architecture)
        hint = (
            f"it is called timm:{renamed} now"
            if renamed
            else "'featurebank backbones --source timm PATTERN' finds them"
        )
        raise unknown_name("network of timm", architecture, known, hint)
    tags = [one.partition(".")[2] for one in timm.list_models(f"{architecture}.*", include_tags=True)]
    if tag and tag not in tags:
        raise unknown_name("weights", tag, tags, f"the weights of timm:{architecture} are {', '.join(tags) or 'none'}")
    if not tag and weights in tags:
        return architecture, str(weights)
    default = timm.models.get_pretrained_cfg(architecture)
    tag = tag or (default.tag if default is not None else "") or ""
    return architecture, tag


def pretrained_config(architecture: str, tag: str) -> Any:
    """Returns timm's `PretrainedCfg` of weights; None if it has none for this network."""
    return import_timm().models.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)


def _has_weights(architecture: str, tag: str) -> bool:
    return bool(pretrained_config(architecture, tag).has_weights)


def refusal(architecture: str, config: Any) -> str:
    """Returns why a network cannot be a backbone, without building it; empty if it may be one."""
    if config is None:
        return "has no configuration of its input in timm"
    if architecture.startswith("naflex"):
        return "takes sequences of patches of any number (NaFlex), not square images"
    channels, height, width = config.input_size
    if channels != _CHANNELS:
        return f"takes images of {channels} channels, expected {_CHANNELS}"
    if height != width:
        return f"takes images of {height} x {width} pixels, expected square ones"
    if config.crop_mode not in FORMS:
        return f"gets its images with crop mode '{config.crop_mode}', expected {' or '.join(FORMS)}"
    return ""
