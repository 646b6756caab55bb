"""Checks of a whole request, before anything is read or built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featurebank.backbone import Backbone
from featurebank.backbone.outline import check_taps
from featurebank.errors import ConfigError
from featurebank.extraction.cut_budget import named_taps
from featurebank.extraction.options import ExtractOptions


def check_request(backbones: Sequence[Backbone], options: ExtractOptions, cache: Path) -> None:
    """Checks the request, as far as that is possible without building a network.

    Args:
        backbones: the networks.
        options: how to extract.
        cache: where the layers of networks are remembered.

    Raises:
        ConfigError: an option is wrong, or there are no or equal backbones.
        UnknownNameError: no layer has the name of a tap.
    """
    if not backbones:
        message = "no backbone was asked for: expected at least one"
        raise ConfigError(message)
    named = replace(options, taps=named_taps(options.taps))
    for backbone in backbones:
        named.check(backbone)
    digests = [backbone.digest for backbone in backbones]
    for backbone, own in zip(backbones, digests, strict=True):
        if digests.count(own) > 1:
            message = f"backbone '{backbone.name}' is requested twice: expected each backbone once"
            raise ConfigError(message)
    for backbone in backbones:
        check_taps(backbone, named.taps, cache)
