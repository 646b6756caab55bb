"""Loads the backbone of a bank again from the bank's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurebank.backbone.catalog import load_network
from featurebank.backbone.keras_networks.spec import KerasSpec
from featurebank.backbone.naming import check_named, is_user_network
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.resize import word_of
from featurebank.backbone.spec import BackboneSpec, BatchNorm
from featurebank.backbone.table import TABLE
from featurebank.backbone.taps import Tap, averages_map, plain
from featurebank.errors import ConfigError, WeightsError


def recorded_source(backbone: Backbone) -> dict[str, str]:
    """Returns the user's specification of a backbone, from which `load_recorded` loads it again.

    Example:
        >>> recorded_source(load_network("resnet50", BackboneOptions(weights="random:1")))
        {'weights': 'random:1', 'backbone': 'resnet50'}
    """
    return {"weights": backbone.weights, "backbone": getattr(backbone.spec, "known_as", backbone.name)}


def recorded_options(recipe: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `featurebank.load_backbone` for the network of a bank; its name is under `backbone`.

    The resize rule is omitted, because it is not a part of the network.

    Args:
        recipe: recipe of the bank.
        source: `source` of its manifest, from `recorded_source`.

    Raises:
        ConfigError: the network was a model in the memory of another process.
    """
    name = str(source.get("backbone", recipe["backbone"]))
    own = is_user_network(name)
    if not name or (not own and str(recipe.get("architecture", "user:")).startswith("user:")):
        message = (
            f"the bank's network '{recipe['backbone']}' was a model in memory: expected one that can be loaded again; "
            "save it as a .keras file and extract with --backbone FILE.keras"
        )
        raise ConfigError(message)
    published = TABLE[name].preprocessing if name in TABLE else None
    declared = next((word for word, rule in DECLARED.items() if rule == recipe["preprocessing"]), None)
    return {
        "backbone": name, "weights": source.get("weights"), "image_size": recipe["image_size"],
        "preprocessing": None if published == recipe["preprocessing"] else declared,
    }  # fmt: skip


def recorded_batch_norm(recipe: Mapping[str, Any], source: Mapping[str, Any]) -> BatchNorm:
    """Returns the default treatment of batch normalisation in a fine-tune of a bank's network: "train" or "frozen".

    It is the `finetune_batch_norm` of the backbone; the statistics of random weights are not worth keeping.

    Args:
        recipe: recipe of the bank.
        source: `source` of its manifest.
    """
    spec = _of_table(recipe)
    if spec is None or str(source.get("weights", "")).startswith("random"):
        return BackboneSpec.finetune_batch_norm
    return spec.finetune_batch_norm


def plain_tap(recipe: Mapping[str, Any], tap: str) -> Tap:
    """Parses a tap of a bank; "pooled" is ("map", "avg") if the bank's network pools that way.

    Args:
        recipe: recipe of the bank.
        tap: the tap.

    Raises:
        ConfigError: the tap is malformed.

    Example:
        >>> plain_tap({"backbone": "resnet50"}, "pooled"), plain_tap({"backbone": "convnext_tiny"}, "pooled")
        (Tap(source='map', step='avg'), Tap(source='pooled', step=None))
    """
    spec = _of_table(recipe)
    averages = averages_map(str(recipe.get("pooling", ""))) if spec is None else spec.averages_map
    return plain(tap, averages=averages)


def _of_table(recipe: Mapping[str, Any]) -> KerasSpec | None:
    """Returns the known network of a bank; None for all others, such as that of a file "resnet50.onnx"."""
    is_own = str(recipe.get("architecture", "")).startswith(("user:", "file:"))
    return None if is_own else TABLE.get(str(recipe["backbone"]))


def load_like(recipe: Mapping[str, Any], source: Mapping[str, Any]) -> Backbone:
    """Returns the backbone that this machine has under the name of a recorded one; it may differ.

    Args:
        recipe: recipe of the bank.
        source: `source` of its manifest, from `recorded_source`.

    Raises:
        ConfigError, WeightsError: see `load_recorded`.
    """
    options = recorded_options(recipe, source)
    name = options.pop("backbone")
    check_named(name, "the bank")
    return load_network(name, BackboneOptions(**options, resize=word_of(recipe["resize"]), levels=recipe.get("levels")))


def differing_parts(recipe: Mapping[str, Any], backbone: Backbone) -> list[str]:
    """Returns the parts of a recipe in which a backbone differs from a recorded one."""
    own = backbone.recipe
    return [part for part in dict.fromkeys((*own, "levels")) if recipe.get(part) != own.get(part)]


def load_recorded(
    recipe: Mapping[str, Any], source: Mapping[str, Any], *, backbone: Backbone | None = None
) -> Backbone:
    """Returns the backbone of a bank.

    Args:
        recipe: recipe of the bank.
        source: `source` of its manifest, from `recorded_source`.
        backbone: the network, if the caller has it; it is checked. By default, the network is loaded again.

    Raises:
        ConfigError: the network was a model in the memory of another process, or no longer exists; or it is a function
            that the user has not named (a bank must not decide which code runs); or a newer featurebank made the bank.
        WeightsError: the backbone differs from that of the bank in its weights, architecture or preprocessing.

    Example:
        >>> flowers = fb.extract("photos", "my_networks:small")
        >>> load_recorded(flowers.recipe, flowers.manifest.source)
        <Backbone my_networks.small, weights own, 32 px>
    """
    network = load_like(recipe, source) if backbone is None else backbone
    if differences := differing_parts(recipe, network):
        name = getattr(network.spec, "known_as", "") or network.name
        remedy = (
            "extract again with these, or restore the old ones"
            if backbone is None
            else "pass the network that made the bank, or leave it out"
        )
        message = (
            f"the bank was made by another {' and '.join(differences)} than {name} with weights {network.weights} has "
            f"now: {remedy}"
        )
        raise WeightsError(message)
    return network
