"""Variants with one bank have one split: each extraction gives the images of its bank their labels and splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from featurebank.backbone import Backbone
from featurebank.errors import ConfigError
from featurebank.pipeline.config import DatasetSection
from featurebank.pipeline.variants import Variant
from featurebank.system import digest
from featurebank.words import shown

_OF_THE_NAME = {"name", "classes", "limit", "per_class", "test"}
"""Keys that the name of the bank depends on: other values are other banks."""


def check_splits(variants: Sequence[Variant], datasets: Sequence[str], networks: Sequence[Iterable[Backbone]]) -> None:
    """Checks that variants with one bank give its images the same labels, groups and splits.

    Otherwise each variant would replace those of the one before, whose runs no command would find again; and the table
    of the variants would compare results on different validation images.

    Args:
        variants: from `variants_from_file`.
        datasets: the name of the dataset of each variant.
        networks: the networks of each variant.

    Raises:
        ConfigError: two variants do not.
    """
    banks: dict[Any, Variant] = {}
    for variant, name, backbones in zip(variants, datasets, networks, strict=True):
        section, options = variant.pipeline.dataset, variant.pipeline.extract
        for backbone in backbones:
            bank = (name, section.test, section.subset, digest.of_recipe(options.recipe(backbone)))
            first = banks.setdefault(bank, variant)
            if differs := _differences(first.pipeline.dataset, section):
                message = (
                    f"variants '{first.name}' and '{variant.name}' have one bank, whose images have one split, but "
                    f"{differs}: set it in [dataset] for all variants, or run each variant by --variant with a --cache "
                    "of its own"
                )
                raise ConfigError(message)


def _differences(one: DatasetSection, other: DatasetSection) -> str:
    """Returns how two sections differ in what decides labels, groups and splits; empty if they do not."""
    names = [field.name for field in fields(one) if field.name not in _OF_THE_NAME]
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in names]
    if one.fractions == other.fractions:  # a default may be written out
        pairs = [pair for pair in pairs if pair[0] != "split"]
    differing = [(name, mine, theirs) for name, mine, theirs in pairs if mine != theirs]
    return ", ".join(f"dataset.{name} is {_value(mine)} and {_value(theirs)}" for name, mine, theirs in differing)


def _value(value: Any) -> str:
    return "not set" if value is None else shown(value)
